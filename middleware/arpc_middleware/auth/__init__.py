"""Who is at the other end of a connection: a layer that asks, schemes that judge, roles, and the calling side.

Each is loaded when it is first used; users import them from ``arpc.middleware``.
"""
