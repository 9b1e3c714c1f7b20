"""Every frame is encrypted with a key that both sides have, and the key is changed while clients come and go.

python -m examples.coders_encrypt
"""

from __future__ import annotations

from os import urandom

import arpc
from arpc.coders import Encrypt

OLD, NEW = urandom(32), urandom(32)  # in earnest from where secrets are kept, the same for both sides

router = arpc.Router()


@router.handle("/balance")
async def balance(account: str) -> int:
    return 100 + len(account)


async def ask(address: str, encrypt: Encrypt) -> int:
    async with arpc.connect(address, coders=[encrypt]) as peer:
        return await peer.call("/balance", "Ann", returns=int)


async def main() -> None:
    # First the new key is given to all, and the old one is used on.
    both = Encrypt({"2025": OLD, "2026": NEW}, use="2026")
    async with arpc.serve("tcp://127.0.0.1:0", router, coders=[both]) as server:
        # Then one side after the other uses the new one: all of these understand each other.
        before = Encrypt({"2025": OLD, "2026": NEW}, use="2025")
        print("  with both keys, using the old one:", await ask(server.address, before))
        print("  with both keys, using the new one:", await ask(server.address, both))
        print("  with the new key alone:", await ask(server.address, Encrypt({"2026": NEW}, use="2026")))

        # Whoever was forgotten, has another key, or none, is told so. No key is ever shown.
        for name, coders in {
            "with the old key alone": [Encrypt({"2025": OLD}, use="2025")],
            "with a wrong key": [Encrypt({"2026": urandom(32)}, use="2026")],
            "with none": [],
        }.items():
            try:
                await arpc.connect(server.address, coders=coders)
            except arpc.ConnectError as error:
                print(f"  {name}: {error.__cause__}")


if __name__ == "__main__":
    arpc.run(main())
