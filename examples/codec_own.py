"""A codec of your own: tables as CSV, typed at both ends, so that a spreadsheet can read what travels.

python -m examples.codec_own
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec

import arpc
from arpc.codecs import Codec


class CsvCodec(Codec):
    """A body is a table: a line of names, then a line for each dataclass or dict of a list."""

    name = "csv"

    def encode(self, value: Any) -> bytes:
        rows = msgspec.to_builtins(value, str_keys=True)
        if not isinstance(rows, list):
            raise TypeError(f"a table is a list of rows, not {type(value).__name__}")
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]) if rows else [])
        table.writeheader()
        table.writerows(rows)
        return text.getvalue().encode()

    def decode(self, data: bytes) -> list[dict[str, str]]:
        """The plain value, for whoever names no type: everything is text."""
        return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """Text becomes numbers, dates, and so on: ``strict=False``. Without this method ``"3"`` would be no int."""
        return lambda data: msgspec.convert(self.decode(data), type, strict=False)


@dataclass
class Sale:
    day: date
    product: str
    count: int


router = arpc.Router()


@router.handle("/best")
async def best(sales: list[Sale]) -> list[Sale]:
    return [max(sales, key=lambda sale: sale.count)]


async def main() -> None:
    serving = arpc.serve("tcp://127.0.0.1:0", router, codec=CsvCodec())
    async with serving as server, arpc.connect(server.address, codec=CsvCodec()) as peer:
        sales = [Sale(date(2026, 5, 1), "tea", 3), Sale(date(2026, 5, 2), 'scone, "large"', 12)]
        print(await peer.call("/best", sales, returns=list[Sale]))
        print(await peer.call("/best", sales, returns=str), end="")  # as it travels
        print(await peer.call("/best", sales))

        try:
            await peer.call("/best", "day,product,count\n2026-05-01,tea,many\n")  # text travels as it is
        except arpc.RemoteError as error:
            print(f"refused: {error}")
        try:
            await peer.call("/best", 3)
        except arpc.EncodeError as error:
            print(f"not sent: {error}")


if __name__ == "__main__":
    arpc.run(main())
