"""The streams of one connection as the wire has them: ids, halves, credit (PROTOCOL part 1, and CREDIT and Reset)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from .errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from .frame import (
    CREDIT,
    HEADER,
    LARGE,
    MAX_METHOD,
    RESERVED_EMPTY,
    RESERVED_META,
    RESET,
    STREAM,
    STREAM_EOF,
    STREAM_LOCAL,
    encode,
)
from .hello import MAX_CREDIT
from .hooks import Message, StreamOwner
from .output import BATCH

if TYPE_CHECKING:
    from .session import Session

ITEM: Final = 64
"""Bytes that an item costs beside its data."""

UNBOUNDED: Final = 1 << 62
"""Credit towards a peer that knows no flow control."""

REMEMBERED: Final = 4096
"""Ended streams of a peer without extensions whose late frames are known for what they are."""

LATE: Final = "the other side answered the Hello after hello_timeout: connect again, or give it more time"

_pack = HEADER.pack


class Flow:
    """One stream: which halves are open, and how much each may carry."""

    __slots__ = ("allowance", "command", "credit", "id", "method", "owed", "owner", "receiving", "sending")

    def __init__(self, id: int, method: bytes, *, local: bool, credit: int, window: int) -> None:
        self.id = id
        self.method = method
        self.command = STREAM | STREAM_LOCAL if local else STREAM
        self.owner: StreamOwner | None = None
        """Who takes the items; None when they are for nobody any more."""
        self.sending = True
        """This side's half is open."""
        self.receiving = True
        """The other side's half is open."""
        self.credit = credit
        """What may be sent: an item may be while this is above 0."""
        self.allowance = window
        """What the other side may send, as far as it is known here."""
        self.owed = 0
        """What was read and not yet allowed again."""

    @property
    def local(self) -> bool:
        """It was opened by this side."""
        return self.command != STREAM


class Flows:
    """The streams of one connection, by who opened them."""

    __slots__ = (
        "_ended",
        "_highest",
        "_session",
        "_threshold",
        "_window",
        "accepted",
        "full",
        "max_item",
        "opened",
        "peak",
        "queued",
        "step",
    )

    def __init__(self, session: Session, window: int) -> None:
        self._session = session
        # A peer that knows no flow control may always send one item, or none would ever come.
        self._window = window if session.credits else max(window, 1)
        self._threshold = max(window // 2, 1)
        self.step = max(self._threshold // 4, 1)
        """What a reader may take before it says so, while more waits for it."""
        self.max_item = session.options.max_item
        self._highest = 0
        self._ended: dict[int, None] | None = None
        self.opened: dict[int, Flow] = {}
        self.accepted: dict[int, Flow] = {}
        self.full: set[Flow] = set()
        """Those on which a peer without flow control has sent more than their window."""
        self.queued = 0
        """Bytes of items that wait to be read, with ``ITEM`` for each."""
        self.peak = 0
        """The most that this has ever been."""

    def __len__(self) -> int:
        return len(self.opened) + len(self.accepted)

    def __iter__(self) -> Iterator[Flow]:
        return iter([*self.opened.values(), *self.accepted.values()])

    # --- sending

    def open(self, method: bytes, owner: StreamOwner, id: int, data: bytes, *, end: bool, trailer: bytes) -> Flow:
        """Opens a stream with its first frame, which carries an item where ``data`` is not empty.

        LimitExceeded if the other side takes no more streams, or not so large a frame.
        """
        session = self._session
        if session.late:
            raise LocalProtocolError(f"no streams here: {LATE}")
        limit = session.remote.max_streams if session.remote.max_streams is not None else session.options.max_streams
        if len(self.opened) >= limit:
            raise LimitExceeded(f"{limit} streams are open, as many as the other side accepts (max_streams)")
        length = len(method) + len(data) + len(trailer)
        session.check(length)
        credit = UNBOUNDED
        if session.credits:
            credit = session.remote.stream_window or 0
            if data and credit <= 0:
                raise LocalProtocolError("the first item has to wait for credit")
        flow = Flow(id, method, local=True, credit=credit, window=self._window)
        flow.owner = owner
        command = flow.command
        if data:
            flow.credit -= ITEM + len(data)
        if end:
            command |= STREAM_EOF
            flow.sending = False
        head = _pack(length, RESERVED_META if trailer else 0, command, 0, len(method), id) + method
        session.append(head, data, trailer)
        self.opened[id] = flow  # now, since a coder may have refused it
        return flow

    def send(self, flow: Flow, data: bytes) -> None:
        """Sends an item on an open half whose credit is above 0. LimitExceeded; LocalProtocolError for an empty one."""
        session = self._session
        method = flow.method
        size = len(method)
        length = size + len(data)
        if not data or length > session.small:
            self._send_with_care(flow, data, length)
            return
        flow.credit -= ITEM + len(data)
        out = session.out
        out.append(_pack(length, 0, flow.command, 0, size, flow.id) + method)
        out.append(data)
        parts = len(out)
        if parts < 5 or parts > BATCH:
            session.hooks.on_output()

    def _send_with_care(self, flow: Flow, data: bytes, length: int) -> None:
        session = self._session
        reserved = 0
        if length > session.send_limit:
            raise session.too_large(length)
        if not data:
            if not session.empties:
                raise LocalProtocolError("an empty item cannot be sent to this peer, which would not see it (EMPTY)")
            reserved = RESERVED_EMPTY
        method = flow.method
        session.append(_pack(length, reserved, flow.command, 0, len(method), flow.id) + method, data)
        flow.credit -= ITEM + len(data)

    def end(self, flow: Flow) -> None:
        """Ends this side's half."""
        if flow.sending:
            flow.sending = False
            self._session.tell(encode(flow.command | STREAM_EOF, 0, flow.id, flow.method))
            if not flow.receiving:
                self._forget(flow)

    def reset(self, flow: Flow, text: str = "") -> None:
        """Ends both halves at once; without CANCEL by an end, and what still comes is thrown away."""
        if not flow.sending and not flow.receiving:
            return
        owner, flow.owner = flow.owner, None
        session = self._session
        if session.can_cancel:
            data = text.encode("utf-8", "replace")[: session.send_limit]
            session.tell(encode(RESET | flow.command & STREAM_LOCAL, 0, flow.id, b"", data))
            flow.sending = flow.receiving = False
            self._forget(flow)
        else:
            self.end(flow)
            if flow.receiving:
                flow.receiving = False
                self._forget(flow)
                # Its writer would wait for ever. (Who opens more streams than are accepted may.)
                if session.credits and (flow.local or len(self.accepted) < session.options.max_streams):
                    self._drain(flow)
        if owner is not None:
            owner.on_reset(text)

    def _drain(self, ended: Flow) -> None:
        """Takes what still comes on a stream that was left, for nobody, until its writer has ended."""
        flow = Flow(ended.id, ended.method, local=ended.local, credit=0, window=ended.allowance)
        flow.sending = False
        flow.owed = max(max(self._window, 1) - flow.allowance, 0)
        (self.opened if flow.local else self.accepted)[flow.id] = flow
        self._allow(flow)

    def leave(self, flow: Flow) -> None:
        """Nobody will read or write any more on this side: whatever is open is ended."""
        if flow.receiving:
            self.reset(flow)
        else:
            self.end(flow)

    # --- credit

    def read(self, flow: Flow, cost: int) -> None:
        """Items of this cost were taken: as much may be sent again."""
        before = self.queued
        self.queued = after = before - cost
        if after <= LARGE < before:
            self._session.hooks.on_room()
        if not self._session.credits:
            before = flow.allowance
            flow.allowance = after = before + cost
            if before < self._threshold <= after and flow in self.full:
                self.full.discard(flow)
                self._session.hooks.on_room()
            return
        flow.owed += cost
        if flow.owed >= self._threshold and flow.receiving:
            self._allow(flow)

    def wanted(self, flow: Flow) -> None:
        """Somebody waits for an item: where the window is too small for any, one is allowed."""
        if self._session.credits and flow.receiving and flow.allowance <= 0:
            flow.owed = max(flow.owed, 1 - flow.allowance)
            self._allow(flow)

    def _allow(self, flow: Flow) -> None:
        grant, flow.owed = flow.owed, 0
        if grant:
            flow.allowance += grant
            data = grant.to_bytes(4, "little")
            self._session.tell(encode(CREDIT | flow.command & STREAM_LOCAL, 0, flow.id, b"", data))

    # --- receiving

    def receive(self, message: Message, reserved: int) -> None:
        """A frame of a stream. Those of a stream that has ended, or never began, are dropped and counted."""
        command, _, _, id, method, data = message
        table = self.accepted if command & STREAM_LOCAL else self.opened
        flow = table.get(id)
        if not 0 < len(method) <= MAX_METHOD:
            self._session.dropped += 1
            return
        if flow is None:
            if not command & STREAM_LOCAL or not self._begins(id):
                self._session.dropped += 1
                return
            if self._session.late:
                raise RemoteProtocolError(f"a stream is opened, and {LATE}")
            self._accept(message)
            flow = table.get(id)  # another one where it was refused, and what comes is to be thrown away
            if flow is None:
                return
        elif not flow.receiving:
            self._session.dropped += 1
            return
        if data or (reserved & RESERVED_EMPTY and self._session.empties):
            self._item(flow, data)
        if command & STREAM_EOF:
            if not flow.receiving:  # it was reset because of this very item
                flow = table.get(id)
                if flow is None:
                    return
            flow.receiving = False
            if not flow.sending:
                self._forget(flow)
            if flow.owner is not None:
                flow.owner.on_end()

    def _begins(self, id: int) -> bool:
        """Whether a frame of an unknown stream opens it, or comes late for one that has ended."""
        if self._session.remote.extended:
            begins = id > self._highest
            self._highest = max(self._highest, id)
            return begins
        return self._ended is None or id not in self._ended

    def _accept(self, message: Message) -> None:
        session = self._session
        credit = (session.remote.stream_window or 0) if session.credits else UNBOUNDED
        flow = Flow(message[3], message[4], local=False, credit=credit, window=self._window)
        if len(self.accepted) >= session.options.max_streams:
            self.accepted[flow.id] = flow
            self.reset(flow, f"too many streams: {session.options.max_streams} are accepted (max_streams)")
        else:
            self.accepted[flow.id] = flow
            session.hooks.on_stream(flow, message)

    def _item(self, flow: Flow, data: bytes) -> None:
        size = len(data)
        cost = ITEM + size
        owner = flow.owner
        session = self._session
        if flow.allowance <= 0:
            if session.credits:
                raise RemoteProtocolError(f"stream {flow.id} carries an item past its credit")
            if owner is not None and not owner.on_overflow():
                self.reset(flow, "overflow: items came faster than they were read")
                return
            self.full.add(flow)
        if owner is None:
            flow.allowance -= cost
            flow.owed += cost
            self._allow(flow)
        elif size > self.max_item:
            flow.allowance -= cost
            self.reset(flow, f"an item of {size} bytes: at most {self.max_item} are accepted (max_item)")
        else:
            self.arrived(flow, [data], flow.allowance - cost)

    def receive_reset(self, command: int, id: int, data: bytes) -> None:
        """Command 8. One for a stream that has ended is ignored: it crossed our end."""
        flow = (self.accepted if command & STREAM_LOCAL else self.opened).get(id)
        if flow is not None:
            flow.sending = flow.receiving = False
            self._forget(flow)
            owner, flow.owner = flow.owner, None
            if owner is not None:
                owner.on_reset(data.decode("utf-8", "replace"))

    def receive_credit(self, command: int, id: int, data: bytes) -> None:
        """Command 9. One for a stream that has ended is ignored: it crossed our end."""
        if len(data) != 4:
            raise RemoteProtocolError(f"Credit carries 4 bytes, not {len(data)}")
        flow = (self.accepted if command & STREAM_LOCAL else self.opened).get(id)
        if flow is not None and flow.sending:
            flow.credit += int.from_bytes(data, "little")
            if flow.credit > MAX_CREDIT:
                raise RemoteProtocolError(f"stream {id} is given credit for {flow.credit} bytes, over {MAX_CREDIT}")
            if flow.credit > 0 and flow.owner is not None:
                flow.owner.on_credit()

    def arrived(self, flow: Flow, items: list[bytes], allowance: int) -> None:
        """These items came; ``allowance`` is what the other side may send after them."""
        queued = self.queued = self.queued + flow.allowance - allowance
        if queued > self.peak:
            self.peak = queued
        flow.allowance = allowance
        if flow.owner is not None:
            flow.owner.on_items(items)

    # --- the end

    def close(self) -> list[StreamOwner]:
        """The connection has ended: those whose streams were open."""
        owners = [flow.owner for flow in self if flow.owner is not None]
        self.opened.clear()
        self.accepted.clear()
        self.full.clear()
        return owners

    def hold(self, size: int) -> None:
        """So many bytes are held for a stream beside its items."""
        self.queued += size

    def drop(self, size: int) -> None:
        """Items that waited and cost so much will not be read any more."""
        self.queued -= size
        self._session.hooks.on_room()

    def _forget(self, flow: Flow) -> None:
        """Both halves have ended."""
        if flow in self.full:
            self.full.discard(flow)
            self._session.hooks.on_room()
        if flow.local:
            self.opened.pop(flow.id, None)
            return
        self.accepted.pop(flow.id, None)
        if not self._session.remote.extended:
            if self._ended is None:
                self._ended = {}
            elif len(self._ended) >= REMEMBERED:
                del self._ended[next(iter(self._ended))]
            self._ended[flow.id] = None
