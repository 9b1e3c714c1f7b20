"""Records the frames that two sessions of ours exchange with every capability: golden_extensions.json.

``python -m tests.wire.record_extensions`` writes the file anew. Sequence numbers begin at 1 in each scene, and no time
is read, so that the same code always makes the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from arpc import session
from arpc.errors import DEADLINE_OVER
from arpc.flow import ITEM, Flow
from arpc.frame import HEADER_SIZE
from arpc.hooks import Message
from arpc.metadata import trailer
from tests.wire.feeding import Listener, Side, Way, whole

FILE: Final = Path(__file__).parent / "golden_extensions.json"
CLIENT: Final = "c2s"
SERVER: Final = "s2c"
WINDOW: Final = 1024


class Play:
    """Two sessions that talk to each other, and what they said, frame by frame."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.client = Side(stream_window=WINDOW)
        """The side that dials."""
        self.server = Side(stream_window=WINDOW)
        self.client.accepts = self.server.accepts = True
        self.frames: list[tuple[str, bytes]] = []

    def hello(self) -> None:
        self._deliver(CLIENT, self.client.session.dial())
        self.talk()

    def talk(self) -> None:
        """Each hears what the other has said."""
        while said := self.client.sent():
            self._deliver(CLIENT, said)
        while said := self.server.sent():
            self._deliver(SERVER, said)

    def _deliver(self, sender: str, data: bytes) -> None:
        at = 0
        while at < len(data):
            end = at + HEADER_SIZE + int.from_bytes(data[at : at + 4], "little")
            self.frames.append((sender, data[at:end]))
            at = end
        (self.server if sender == CLIENT else self.client).feed(self.way(data))

    # --- what a scene says

    def call(self, data: bytes, metadata: dict[str, Any] | None = None, timeout: float | None = None) -> int:
        """The client calls; returns the number of its call."""
        seq = self.client.session.request_with(b"/echo", data, "call", trailer(metadata, timeout))
        self.talk()
        return seq

    @property
    def request(self) -> Message:
        """What the server was asked last."""
        return self.server.messages[-1]

    def open(
        self,
        data: bytes = b"",
        *,
        side: Side | None = None,
        end: bool = False,
        metadata: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> tuple[Flow, Flow]:
        """The client, or the other side, opens a stream: what it is to the one, and to the other."""
        here = side or self.client
        there = self.server if here is self.client else self.client
        listener = Listener(None, here)
        made = trailer(metadata, timeout)
        mine = listener.flow = here.session.open_stream(b"/chat", listener, data, end=end, trailer=made)
        here.streams[mine.id] = listener
        self.talk()
        theirs = there.streams[mine.id].flow
        assert theirs is not None
        return mine, theirs

    def send(self, side: Side, flow: Flow, *items: bytes) -> None:
        for data in items:
            side.session.make_flows().send(flow, data)
        self.talk()

    def end(self, side: Side, flow: Flow) -> None:
        side.session.make_flows().end(flow)
        self.talk()

    def reset(self, side: Side, flow: Flow, text: str = "") -> None:
        side.session.make_flows().reset(flow, text)
        self.talk()


Scene = Callable[[Play], None]
SCENES: Final[dict[str, tuple[str, Scene]]] = {}


def scene(about: str) -> Callable[[Scene], Scene]:
    def add(function: Scene) -> Scene:
        SCENES[function.__name__] = about, function
        return function

    return add


@scene("Hello: the dialler's first Ping, and its Pong (all other scenes go on from here)")
def hello(play: Play) -> None:
    """Begins like every scene."""


@scene("a second Hello: its Pong allows nothing, and what was agreed stays")
def hello_twice(play: Play) -> None:
    play.hello()


@scene("META: a call and its answer with metadata")
def meta_call(play: Play) -> None:
    play.call(b"hello", {"user": "Ann", "n": 1})
    play.server.session.respond_with(play.request, b"hello", trailer({"took": 0.5}, None))
    play.talk()


@scene("META: a notify with metadata and no data")
def meta_notify(play: Play) -> None:
    traced = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1"}
    play.client.session.notify(b"/note", b"", trailer=trailer(traced, None))
    play.talk()


@scene("META: the first frame of a stream with metadata, without an item and with one")
def meta_stream(play: Play) -> None:
    play.open(metadata={"user": "Ann"})
    play.open(b"first", metadata={"user": "Ann"})


@scene("META: a call and a stream with a deadline, alone and beside metadata; milliseconds are rounded up")
def deadline(play: Play) -> None:
    play.call(b"", timeout=1.5)
    play.server.session.respond(play.request, b"in time")
    play.talk()
    play.call(b"", {"user": "Ann"}, timeout=0.0001)
    play.server.session.respond_error(play.request, DEADLINE_OVER, "deadline_exceeded")
    play.talk()
    play.open(timeout=30)


@scene("META: an error with a code, with details too, and with neither")
def error(play: Play) -> None:
    for code, details in (("not_found", None), ("invalid_argument", {"field": "age", "least": 0}), (None, None)):
        play.call(b"")
        play.server.session.respond_error(play.request, "no such person: Zoë", code, details)
        play.talk()


@scene("CANCEL: a call is cancelled, and nothing answers it")
def cancel(play: Play) -> None:
    play.client.session.cancel(play.call(b"slow"))
    play.talk()


@scene("a stream: opened with an item, items both ways, each half ended by itself")
def stream(play: Play) -> None:
    mine, theirs = play.open(b"one")
    play.send(play.client, mine, b"two", b"three")
    play.send(play.server, theirs, b"un")
    play.end(play.client, mine)
    play.send(play.server, theirs, b"deux")
    play.end(play.server, theirs)


@scene("a stream that the server opens")
def stream_of_the_server(play: Play) -> None:
    mine, theirs = play.open(side=play.server)
    play.send(play.server, mine, b"one")
    play.send(play.client, theirs, b"un")
    play.end(play.client, theirs)
    play.end(play.server, mine)


@scene("a stream whose first frame is also its last: one item and EOF")
def stream_of_one_item(play: Play) -> None:
    _, theirs = play.open(b"all of it", end=True)
    play.send(play.server, theirs, b"answer")
    play.end(play.server, theirs)


@scene("CANCEL: a stream is left by its opener, and another by the other side")
def reset_clean(play: Play) -> None:
    mine, _ = play.open(b"one")
    play.reset(play.client, mine)
    _, theirs = play.open(b"one")
    play.reset(play.server, theirs)


@scene("CANCEL: a stream is reset with an error by its opener, and another by the other side")
def reset_error(play: Play) -> None:
    mine, _ = play.open(b"one")
    play.reset(play.client, mine, "changed my mind")
    _, theirs = play.open(b"one")
    play.send(play.server, theirs, b"un")
    play.reset(play.server, theirs, "internal error")


@scene("CREDIT: half a window of each half was read, and may be sent again")
def credit(play: Play) -> None:
    mine, theirs = play.open()
    for side, flow, reader, read in (
        (play.client, mine, play.server, theirs),
        (play.server, theirs, play.client, mine),
    ):
        play.send(side, flow, bytes(192), bytes(192))
        for _ in range(2):
            reader.session.make_flows().read(read, ITEM + 192)
        play.talk()


@scene("GOAWAY: the server wants nothing new, and says why; the client does not")
def goaway(play: Play) -> None:
    play.server.session.go_away("the server stops")
    play.client.session.go_away("")
    play.talk()


@scene("EMPTY: empty items both ways, and a frame that carries none")
def empty(play: Play) -> None:
    mine, theirs = play.open()
    play.send(play.client, mine, b"", b"")
    play.send(play.server, theirs, b"")
    play.end(play.client, mine)


@contextmanager
def numbered() -> Iterator[None]:
    """Sequence numbers begin at 1."""
    before, session.next_seq = session.next_seq, count(1).__next__
    try:
        yield
    finally:
        session.next_seq = before


def played(name: str, way: Way = whole) -> Play:
    """A scene, with its bytes delivered in that way."""
    with numbered():
        play = Play(way)
        play.hello()
        if name != "hello":
            SCENES[name][1](play)
            del play.frames[:2]
        return play


def recorded() -> str:
    """The file."""
    scenes = [
        {
            "name": name,
            "about": about,
            "frames": [{"dir": sender, "hex": data.hex()} for sender, data in played(name).frames],
        }
        for name, (about, _) in SCENES.items()
    ]
    return json.dumps({"scenes": scenes}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(recorded(), encoding="utf-8")
