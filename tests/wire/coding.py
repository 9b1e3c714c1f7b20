"""Coders made for tests, and sides that have some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from arpc.coders import Coder
from arpc.errors import RemoteProtocolError
from arpc.options import OptionKeywords
from tests.wire.feeding import Side


class Xor(Coder):
    """Hides every byte of a frame behind its command, and needs no bit for that."""

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        return frame[:6] + bytes(byte ^ 0x5A for byte in frame[6:])

    def decode(self, frame: bytes, values: dict[str, Any], limit: int) -> bytes:
        return self.encode(frame, {})


class Counted(Coder):
    """Puts the number of each frame on its connection behind it."""

    overhead = 4

    def __init__(self) -> None:
        self.sent = self.received = 0
        self.told: list[tuple[bytes, bool]] = []

    def start(self) -> Counted:
        return Counted()

    def offer(self) -> bytes:
        return b"from 0"

    def accept(self, offer: bytes, *, dialled: bool) -> None:
        self.told.append((offer, dialled))

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        self.sent += 1
        return (len(frame) - 12).to_bytes(4, "little") + frame[4:] + self.sent.to_bytes(4, "little")

    def decode(self, frame: bytes, values: dict[str, Any], limit: int) -> bytes:
        self.received += 1
        if frame[-4:] != self.received.to_bytes(4, "little"):
            raise RemoteProtocolError(f"frame {self.received} was expected")
        return (len(frame) - 20).to_bytes(4, "little") + frame[4:-4]


class Named(Coder):
    """Changes nothing, and is called as it is told."""

    def __init__(self, name: str, *, required: bool = False, needs_hello: bool = False) -> None:
        self.name = name
        self.required = required
        self.needs_hello = needs_hello

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        return frame

    def decode(self, frame: bytes, values: dict[str, Any], limit: int) -> bytes:
        return frame


class Refusing(Named):
    """Refuses frames that hold a word."""

    def __init__(self, word: bytes) -> None:
        super().__init__("refusing")
        self.word = word

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        if self.word in frame:
            raise ValueError("a bad word")
        return frame


class RefusingLater(Refusing):
    """The same, with a state."""

    def start(self) -> RefusingLater:
        return RefusingLater(self.word)


class Replacing(Named):
    """Makes something else of every frame."""

    def __init__(self, sent: Any = None, received: Any = None) -> None:
        super().__init__("replacing")
        self.sent = sent
        self.received = received

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        made: bytes = frame if self.sent is None else self.sent
        return made

    def decode(self, frame: bytes, values: dict[str, Any], limit: int) -> bytes:
        if isinstance(self.received, Exception):
            raise self.received
        made: bytes = frame if self.received is None else self.received
        return made


def pair(
    ours: Sequence[Coder] = (), theirs: Sequence[Coder] | None = None, **options: Unpack[OptionKeywords]
) -> tuple[Side, Side]:
    """Who dialled, and who was dialled, with these coders, when they have said Hello to each other."""
    one = Side(coders=ours, **options)
    two = Side(coders=ours if theirs is None else theirs, **options)
    one.accepts = two.accepts = True
    two.session.receive(one.session.dial())
    one.session.receive(two.sent())
    assert one.session.ready
    return one, two


def base_pair(coders: Sequence[Coder], **options: Unpack[OptionKeywords]) -> tuple[Side, Side]:
    """The same without extensions: both sides know by configuration."""
    options["extensions"] = False
    one, two = (Side(coders=coders, **options) for _ in range(2))
    one.accepts = two.accepts = True
    one.session.dial()
    two.session.settle()
    return one, two
