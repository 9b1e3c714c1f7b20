"""pydantic models as the types of handlers and answers: its validation, its aliases. Needs the extra `pydantic`.

python -m examples.codecs_pydantic
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr

import arpc


class Account(BaseModel):
    email: Annotated[str, Field(pattern=r"^[^@]+@[^@]+$")]
    password: SecretStr
    display_name: str = Field(default="", alias="displayName")


class Created(BaseModel):
    account: Account
    at: datetime


router = arpc.Router()


@router.handle("/accounts/create")
async def create(account: Account) -> Created:
    return Created(account=account, at=datetime.now(UTC))


@router.handle("/accounts/emails")
async def emails(accounts: list[Account], limit: int = 10) -> list[str]:
    return [account.email for account in accounts[:limit]]


async def main() -> None:
    # The same with codec="msgpack" and codec="cbor".
    async with arpc.serve("tcp://127.0.0.1:0", router) as server, arpc.connect(server.address) as peer:
        ann = {"email": "ann@example.com", "password": "hunter2", "displayName": "Ann"}
        created = await peer.call("/accounts/create", ann, returns=Created)
        print(f"  created {created.account.display_name}, password {created.account.password}")

        found = await peer.call("/accounts/emails", {"accounts": [ann], "limit": 1}, returns=list[str])
        print(f"  {found}")

        try:
            await peer.call("/accounts/create", {"email": "nowhere", "password": "hunter2"})
        except arpc.RemoteError as error:  # names the field, never what was in it
            print(f"  refused: {error.message}")


if __name__ == "__main__":
    arpc.run(main())
