"""The middlewares of arpc; users import them from ``arpc.middleware``."""

from .timeout import Timeout

__all__ = ["Timeout"]
