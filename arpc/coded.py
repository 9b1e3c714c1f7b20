"""A session whose frames go through coders: whole frames, header included, in both directions (PROTOCOL, coders).

It stands between the bytes of the connection and a plain :class:`Session`. Sending: the frame is put together, then
each coder makes another one of it, in the order of registration. Receiving: frames are cut by their length, coders undo
them in reverse, and what comes out is read as if no coder had been there. Pings and pongs pass by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from .cutter import Cutter
from .errors import EncodeError, LimitExceeded, RemoteProtocolError
from .flow import LATE
from .frame import (
    CARRIED,
    HEADER_SIZE,
    LARGE,
    PING,
    PONG,
    RESERVED_EMPTY,
    RESERVED_META,
    Frame,
    Splitter,
    unknown_coder,
)
from .handshake import lacking
from .hello import Capability, Offer
from .hooks import Hooks, Message
from .options import Options
from .session import Session

if TYPE_CHECKING:
    from .coders import Coder

__all__ = ["Carried", "CodedSession"]

_UNCODED: Final = (PING, PONG)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Carried(bytes):
    """A trailer of META, or none, and beside it the values that coders carry with the same message."""

    values: Mapping[str, Any]

    def __new__(cls, trailer: bytes, values: Mapping[str, Any]) -> Carried:
        made = super().__new__(cls, trailer)
        made.values = values
        return made


class CodedSession(Session):
    """One connection's state, where the endpoint has coders."""

    __slots__ = (
        "_cutter",
        "_grown",
        "_least",
        "_limit",
        "_own",
        "_own_least",
        "_reader",
        "_ready",
        "_registered",
        "_shared",
        "_took",
        "_used",
        "carries",
    )

    def __init__(self, hooks: Hooks, options: Options, coders: Sequence[Coder]) -> None:
        super().__init__(hooks, options)
        self._cutter = self.splitter = Cutter(options.max_body)
        self._reader = Splitter(options.max_body)
        self._registered = [coder.start() for coder in coders]
        self._ready: list[bytes] = []
        """Frames whose coders are undone, to be read together."""
        self._grown = 0
        """Bytes by which such frames are larger than they were."""
        self._took: tuple[dict[str, Any], int] = {}, 0
        """The values that the frame carried which is read now, and their bytes."""
        self._limit = options.max_body
        """The largest body, coded, that the other side takes."""
        self.small = -1  # so that every frame comes to append()
        self._use_coders([coder for coder in self._registered if not coder.needs_hello])

    def _use_coders(self, used: Sequence[Coder]) -> None:
        self._used = list(used)
        own = next((at for at, coder in enumerate(used) if coder.has_state), len(used))
        self._shared = self._used[:own]
        """Those that make the same of a frame on every connection."""
        self._own = self._used[own:]
        self._own_least = sum(coder.overhead for coder in self._own)
        self._least = sum(coder.overhead for coder in used)
        """Bytes that have to be left for them in each frame."""
        carried = [coder.carries for coder in used]
        self.carries = None if None in carried else frozenset[str]().union(*filter(None, carried))
        """Names of metadata that coders carry; None for all."""

    # --- the Hello

    def _offers(self) -> list[Offer]:
        return [Offer(coder.name, coder.required, coder.offer()) for coder in self._registered]

    def _agree(self, offers: Sequence[Offer]) -> None:
        here = {coder.name: coder for coder in self._registered}
        there = {offer.name: offer.data for offer in offers}
        for offer in offers:
            if offer.required and offer.name not in here:
                raise lacking(offer.name)
        for coder in self._registered:
            if coder.required and coder.name not in there:
                raise RemoteProtocolError(
                    f"the coder {coder.name!r} is required here, and the other side has not registered it: coders=[...]"
                )
        used = [coder for coder in self._registered if coder.name in there]
        ours, theirs = [coder.name for coder in used], [name for name in there if name in here]
        if ours != theirs:
            order = f"{', '.join(ours)} here, and {', '.join(theirs)} on the other side"
            raise RemoteProtocolError(f"coders are registered in another order: {order}")
        for coder in used:
            try:
                coder.accept(there[coder.name], dialled=self.initiator)
            except RemoteProtocolError:
                raise
            except Exception as error:
                raise RemoteProtocolError(f"the coder {coder.name!r} cannot be used here: {error}") from error
        self._use_coders(used)

    def settle(self) -> None:
        """As in a plain session. RemoteProtocolError for a coder that no base peer can have."""
        if self._negotiating:
            self._check_base()
        super().settle()

    def _check_base(self) -> None:
        for coder in self._registered:
            if coder.needs_hello and coder.required:
                raise RemoteProtocolError(
                    f"the coder {coder.name!r} is required here, and the other side has not said Hello: it is no arpc"
                    " with extensions, or it came after hello_timeout"
                )

    def _use(self, capabilities: Capability) -> None:
        self.small = -1
        self._limit = self.send_limit
        self.send_limit -= self._least
        super()._use(capabilities)
        self.extras |= CARRIED
        self._reader.commands = self.splitter.commands

    def _on_ping(self, data: bytes) -> None:
        if not self._negotiating and not self.remote.extended and self._hello_of(data) is not None:
            raise RemoteProtocolError("coders cannot be agreed upon: a Hello came after it was decided how to speak")
        super()._on_ping(data)

    def _on_pong(self, data: bytes) -> None:
        super()._on_pong(data)
        if self.late:
            raise RemoteProtocolError(f"coders cannot be agreed upon: {LATE}")

    # --- sending

    def respond(self, request: Message, data: bytes) -> None:
        """As in a plain session. EncodeError where a coder refuses the answer: it is not answered yet."""
        try:
            super().respond(request, data)
        except LimitExceeded as error:
            self._answer_too_large(request, error)

    def respond_with(self, request: Message, data: bytes, trailer: bytes) -> None:
        """As :meth:`respond`, with metadata."""
        try:
            super().respond_with(request, data, trailer)
        except LimitExceeded as error:
            self._answer_too_large(request, error)

    def _answer_too_large(self, request: Message, error: LimitExceeded) -> None:
        self.refused += 1
        self.respond_error(request, f"the answer is too large: {error}", "resource_exhausted")

    def append(self, head: bytes, data: bytes = b"", trailer: bytes = b"") -> None:
        """One more frame. EncodeError and LimitExceeded where a coder refuses it."""
        if self.closed is not None:
            return
        if head[5] in _UNCODED:
            super().append(head, data, trailer)
            return
        values = _carried(trailer)
        self.put(self._finish(self._encode(self._shared, b"".join((head, data, trailer)), values), values))

    def tell(self, frame: bytes) -> None:
        """One more frame, of which nobody waits to hear that it cannot be sent: then the connection ends."""
        try:
            self.append(frame)
        except (EncodeError, LimitExceeded) as error:
            self.hooks.on_failure(error)

    @property
    def shared(self) -> tuple[str, ...]:
        return tuple(coder.name for coder in self._shared)

    def prepare(self, method: bytes, data: bytes, trailer: bytes) -> bytes:
        return self._encode(self._shared, super().prepare(method, data, trailer), _carried(trailer))

    def send_prepared(self, frame: bytes, length: int, trailer: bytes) -> None:
        self.check(length)
        self.put(self._finish(frame, _carried(trailer)))

    def _finish(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        """What the coders of this connection alone make of a frame. They are not asked for what cannot be sent."""
        limit = self._limit
        own = self._own
        length = len(frame) - HEADER_SIZE
        if length + self._own_least > limit:
            raise LimitExceeded(
                f"a body of {length} bytes, coded and with what coders add: the other side accepts {limit} (max_body)"
            )
        if own:
            try:
                frame = self._encode(own, frame, values)
            except (EncodeError, LimitExceeded) as error:  # over there they would miss a frame
                self.hooks.on_failure(error)
                raise
        return frame

    def _encode(self, coders: Sequence[Coder], frame: bytes, values: Mapping[str, Any]) -> bytes:
        for coder in coders:
            try:
                coded = coder.encode(frame, values)
            except LimitExceeded:
                raise
            except Exception as error:
                raise EncodeError(f"the coder {coder.name!r} cannot encode a message: {error}") from error
            if coded is not frame:
                if not _is_frame(coded) or coded[5] in _UNCODED:
                    raise EncodeError(f"the coder {coder.name!r} made something that is no frame (docs/coders.md)")
                frame = coded
        return frame

    # --- receiving

    def receive(self, data: bytes) -> None:
        """As in a plain session: bytes in any chunks."""
        try:
            for frame in self._cutter.cut(data):
                if self.closed is not None:
                    return
                if self._negotiating:
                    self._receive_first(frame)
                elif frame[5] in _UNCODED:
                    self._ready.append(frame)
                else:
                    self._undo(frame)
        finally:
            self._read()  # what came before a broken frame, too
        if self._cutter.error is not None:
            raise self._cutter.error

    def _receive_first(self, frame: bytes) -> None:
        """A frame that may decide how the next one is read."""
        if frame[5] in _UNCODED:
            self._ready.append(frame)
        else:
            if self.initiator:  # a base peer may send before it answers
                self._check_base()
            else:
                self.settle()
            self._undo(frame)
        self._read()

    def _undo(self, frame: bytes) -> None:
        """Has a frame's coders undone; it is read soon, and at once where it carried values, or has grown much."""
        values: dict[str, Any] = {}
        plain = frame
        taken = 0
        for coder in reversed(self._used):
            size, count = len(plain), len(values)
            plain = self._decode(coder, plain, values)
            if len(values) > count:
                taken += size - len(plain)
        if plain[4]:
            known = self.extras & RESERVED_META | (RESERVED_EMPTY if self.empties else 0)
            if unknown := plain[4] & ~known:
                raise unknown_coder(unknown)
        self._grown += max(len(plain) - len(frame), 0)
        if values:
            self._read()
            self._took = values, max(taken, 0)
            self._serve([(*parts[:2], parts[2] | CARRIED, *parts[3:]) for parts in self._parsed(plain, 0)])
            self._took = {}, 0
        else:
            self._ready.append(plain)
        if self._grown > LARGE:
            self._read()

    def _decode(self, coder: Coder, frame: bytes, values: dict[str, Any]) -> bytes:
        limit = self.splitter.limit
        try:
            plain = coder.decode(frame, values, limit)
        except RemoteProtocolError:
            raise
        except Exception as error:
            raise RemoteProtocolError(f"the coder {coder.name!r} cannot decode a frame: {error}") from error
        if plain is not frame:
            if not _is_frame(plain):
                raise RemoteProtocolError(f"what the coder {coder.name!r} has decoded is no frame")
            if len(plain) - HEADER_SIZE > limit:
                raise RemoteProtocolError(f"what the coder {coder.name!r} has decoded is over {limit} bytes (max_body)")
        return plain

    def _read(self) -> None:
        """Reads the frames whose coders are undone, and tells if they have grown."""
        ready, self._ready = self._ready, []
        grown, self._grown = self._grown, 0
        if self.closed is not None:
            return
        if ready:
            data = ready[0] if len(ready) == 1 else b"".join(ready)
            short = (self.pending or self.flows is not None) and not self._negotiating
            at = self._take(data, 0) if short else 0
            if at < len(data):
                self._serve(self._parsed(data, at))
        if grown:
            self.hooks.on_grown(grown)

    def _parsed(self, data: bytes, at: int) -> list[Frame]:
        reader = self._reader
        frames = reader.feed(data, at)
        if reader.error is not None:
            if frames:
                self._serve(frames)
            raise reader.error
        return frames

    def _with_metadata(self, frame: Frame) -> Message:
        message: Message = frame
        if frame[2] & RESERVED_META & self.extras:
            message = super()._with_metadata(frame)
        if frame[2] & CARRIED:
            command, flag, _, seq, method, data = message
            message = command, flag, self.hooks.add_values(message, *self._took), seq, method, data
        return message


def _carried(trailer: bytes) -> Mapping[str, Any]:
    return trailer.values if isinstance(trailer, Carried) else _NOTHING


def _is_frame(data: object) -> bool:
    """Bytes with a header that claims what is there: nothing that a coder makes is trusted to be that."""
    return (
        isinstance(data, bytes)
        and len(data) >= HEADER_SIZE
        and int.from_bytes(data[:4], "little") == len(data) - HEADER_SIZE
    )
