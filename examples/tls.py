"""Both sides know each other by certificates: mutual TLS.

python -m examples.tls
"""

from __future__ import annotations

import ssl

import arpc

try:
    import trustme
except ImportError:
    raise SystemExit("this example makes its certificates with trustme: pip install trustme") from None

router = arpc.Router()


@router.handle("/greet")
async def greet(ctx: arpc.Context) -> str:
    certificate = ctx.peer.certificate
    assert certificate is not None  # the server lets nobody in without one
    subject = dict(pair for part in certificate["subject"] for pair in part)
    return f"welcome, {subject['commonName']}"


async def main() -> None:
    authority = trustme.CA()

    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(serving)  # with files: serving.load_cert_chain(...)
    authority.configure_trust(serving)  # with files: serving.load_verify_locations(...)
    serving.verify_mode = ssl.CERT_REQUIRED

    stranger = ssl.create_default_context()
    authority.configure_trust(stranger)
    ann = ssl.create_default_context()
    authority.configure_trust(ann)
    authority.issue_cert("ann@example.org", common_name="Ann").configure_cert(ann)

    async with arpc.serve("tls://127.0.0.1:0", router, ssl=serving) as server:
        async with arpc.connect(server.address, ssl=ann) as peer:
            print(f"  {await peer.call('/greet', returns=str)}")
        for what, context in ("no certificate of its own", stranger), ("no trust in this authority", None):
            try:
                await arpc.connect(server.address, ssl=context)
            except arpc.ConnectError as error:
                print(f"  {what}: {error}")


if __name__ == "__main__":
    arpc.run(main())
