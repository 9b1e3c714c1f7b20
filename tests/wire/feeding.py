"""How a connection may deliver bytes, and a session whose hooks write down what they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, Protocol, Unpack

import pytest

from arpc.coded import CodedSession
from arpc.coders import Coder
from arpc.errors import METHOD_NOT_FOUND
from arpc.flow import Flow
from arpc.frame import CANCEL, CREDIT, FLAG_ERROR, GOAWAY, PING, RESET, Frame, Splitter, encode, known_commands
from arpc.hooks import Message
from arpc.metadata import add_values, error_trailer, read_metadata
from arpc.options import OptionKeywords, Options
from arpc.session import Session

Way = Callable[[bytes], list[bytes]]
"""Cuts bytes into the chunks in which they arrive."""

TAIL = encode(PING, 0, 0)[:7]
"""The beginning of another frame."""


def whole(data: bytes) -> list[bytes]:
    return [data]


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def with_tail(data: bytes) -> list[bytes]:
    return [data + TAIL]


def at_random(data: bytes, seed: int) -> list[bytes]:
    """Cuts anywhere; chunks may be empty."""
    random = Random(seed)
    cuts = sorted(random.choices(range(len(data) + 1), k=random.randint(0, 12)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


every_way = pytest.mark.parametrize("way", [whole, bytewise, with_tail], ids=lambda way: way.__name__)


def split(splitter: Splitter, chunks: Iterable[bytes]) -> list[Frame]:
    return [frame for chunk in chunks for frame in splitter.feed(chunk)]


class Listener:
    """Who holds a stream, and writes down what it is told: items, then ``None`` for an end, a text for a reset."""

    def __init__(self, flow: Flow | None, side: Side) -> None:
        self.flow = flow
        self.side = side
        self.heard: list[bytes | str | None] = []
        self.lost: BaseException | None = None
        self.credited = 0
        self.overflows = True
        """Items past the window of a peer without flow control are taken."""

    def on_items(self, items: list[bytes]) -> None:
        self.heard.extend(items)

    def on_end(self) -> None:
        self.heard.append(None)

    def on_reset(self, text: str) -> None:
        self.heard.append(text)

    def on_lost(self, error: BaseException) -> None:
        self.lost = error

    def on_credit(self) -> None:
        self.credited += 1

    def on_overflow(self) -> bool:
        return self.overflows


class Side:
    """One side of a connection without a connection: a session, and lists of what its hooks were told."""

    def __init__(
        self,
        *,
        on_ready: Callable[[Side], None] | None = None,
        coders: Sequence[Coder] = (),
        **options: Unpack[OptionKeywords],
    ) -> None:
        self.options = Options(**options)
        self.session = CodedSession(self, self.options, coders) if coders else Session(self, self.options)
        self.failures: list[Exception] = []
        self.grown = 0
        self.batches: list[list[Message]] = []
        self.answers: list[tuple[Any, int, bytes]] = []
        self.pongs: list[Any] = []
        self.metadata: list[Any] = []
        """Of answers; those of messages stand in the messages."""
        self.cancelled: list[tuple[int, Any]] = []
        self.openings: list[Message] = []
        self.accepts = False
        """Streams of the other side are served; they are refused otherwise."""
        self.streams: dict[int, Listener] = {}
        self.reasons: list[str] = []
        self.order: list[str] = []
        self.outputs = 0
        self.readies = 0
        self._react = on_ready

    def on_output(self) -> None:
        self.outputs += 1

    def on_messages(self, frames: list[Message]) -> None:
        self.order.append("messages")
        self.batches.append(frames)

    def resolve(self, token: Any, data: bytes, /) -> None:
        self.on_response(token, 0, data)

    def on_answer(self, token: Any, data: bytes, metadata: Any) -> None:
        self.metadata.append(metadata)
        self.on_response(token, 0, data)

    def on_error(self, token: Any, data: bytes, metadata: Any) -> None:
        if metadata is not None:
            self.metadata.append(metadata)
        self.on_response(token, FLAG_ERROR, data)

    def on_response(self, token: Any, flag: int, data: bytes) -> None:
        self.order.append("answer")
        self.answers.append((token, flag, data))

    def on_cancel(self, seq: int, handler: Any) -> None:
        self.order.append("cancel")
        self.cancelled.append((seq, handler))

    def on_stream(self, flow: Flow, opening: Message) -> None:
        self.order.append("stream")
        self.openings.append(opening)
        if self.accepts:
            self.streams[flow.id] = flow.owner = Listener(flow, self)
        else:
            self.session.make_flows().reset(flow, METHOD_NOT_FOUND)

    def on_room(self) -> None:
        self.order.append("room")

    def on_goaway(self, reason: str) -> None:
        self.reasons.append(reason)

    def read_metadata(self, frame: Frame, value: bytes) -> Any:
        return read_metadata(frame, value)

    def write_error(self, code: str | None, details: Any) -> bytes:
        return error_trailer(code, details)

    def add_values(self, frame: Message, values: dict[str, Any], size: int) -> Any:
        return add_values(frame, values, size)

    def on_failure(self, error: Exception) -> None:
        self.failures.append(error)
        self.session.close(error)

    def on_grown(self, size: int) -> None:
        self.grown += size

    def on_pong(self, token: Any) -> None:
        self.pongs.append(token)

    def on_ready(self) -> None:
        self.readies += 1
        if self._react is not None:
            self._react(self)

    @property
    def messages(self) -> list[Message]:
        return [frame for batch in self.batches for frame in batch]

    def feed(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            self.session.receive(chunk)

    def sent(self) -> bytes:
        """What is to be sent, taken."""
        return b"".join(self.session.take())

    def frames(self) -> list[Frame]:
        """The same as frames."""
        data = self.sent()
        splitter = Splitter(0xFFFF_FFFF)
        splitter.commands = known_commands((CANCEL, RESET, CREDIT, GOAWAY))
        frames = splitter.feed(data)
        assert splitter.error is None
        assert not splitter.unfinished
        return frames


def dialler(**options: Unpack[OptionKeywords]) -> Side:
    """Has dialled a peer of the base protocol, and may send."""
    side = Side(**options)
    assert bool(side.session.dial()) is side.options.extensions
    side.session.receive(encode(5, 0, 0) if side.options.extensions else b"")
    return side


def acceptor(**options: Unpack[OptionKeywords]) -> Side:
    """Was dialled by a peer of the base protocol, and may send."""
    side = Side(**options)
    side.session.settle()
    return side


both_sides = pytest.mark.parametrize("make", [dialler, acceptor], ids=lambda make: make.__name__)


class Make(Protocol):
    """Makes a side that may send; see :data:`both_sides`."""

    def __call__(self, **options: Unpack[OptionKeywords]) -> Side: ...
