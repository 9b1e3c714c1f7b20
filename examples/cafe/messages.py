"""What the two processes say to each other: plain dataclasses, and the interface of a service."""

from __future__ import annotations

from dataclasses import dataclass

import arpc


@dataclass
class Order:
    customer: str
    drink: str
    cups: int


@dataclass
class Receipt:
    number: int
    text: str
    cents: int


@dataclass
class Question:
    text: str
    choices: list[str]


@dataclass
class Tip:
    customer: str
    cents: int


@dataclass
class Ready:
    number: int
    drink: str


class Till:
    """The café serves it, the guest calls it; both see one typed class."""

    @arpc.rpc
    async def total(self, prices: list[int], percent_off: int = 0) -> int:
        """The sum of prices in cents, rounded down."""
        raise NotImplementedError
