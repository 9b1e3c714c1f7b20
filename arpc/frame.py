"""The 16-byte header, and the splitter that finds frames in whatever chunks a connection delivers (PROTOCOL part 1)."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, cast

from .errors import LocalProtocolError, RemoteProtocolError

HEADER: Final = Struct("<IBBBBQ")
HEADER_SIZE: Final = 16
MAX_METHOD: Final = 127
LARGE: Final = 65_536
"""Bytes from which a body is handed to the transport as it is, and at once, rather than copied together with others."""

CHUNK: Final = 16_384
"""Bytes from which a chunk of an unfinished frame is kept as it is."""

REQUEST: Final = 1
RESPONSE: Final = 2
NOTIFY: Final = 3
PING: Final = 4
PONG: Final = 5
STREAM: Final = 6

STREAM_LOCAL: Final = 0x80
STREAM_EOF: Final = 0x40
COMMAND_MASK: Final = 0x3F

FLAG_ERROR: Final = 0x01
FLAG_ASYNC: Final = 0x02

Frame = tuple[int, int, int, int, bytes, bytes]
"""(command, flag, reserved, seq, method, data): one whole frame; the command of a stream's carries its two bits."""

_pack = HEADER.pack
_unpack_from: Callable[[bytes | bytearray, int], tuple[int, int, int, int, int, int]] = HEADER.unpack_from


def encode(command: int, flag: int, seq: int, method: bytes = b"", data: bytes = b"", reserved: int = 0) -> bytes:
    """One frame as bytes. The caller has checked its sizes (:func:`encode_method`, the limits of the session)."""
    size = len(method)
    return _pack(size + len(data), reserved, command, flag, size, seq) + method + data


def encode_method(method: str) -> bytes:
    """The wire's bytes of a method's name: 1 to 127 bytes of UTF-8, else :class:`LocalProtocolError`."""
    if not isinstance(cast(object, method), str):
        raise LocalProtocolError(f"a method is a string like '/name', not {method!r}")
    try:
        name = method.encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"method {method!r} cannot be written as UTF-8: {error}") from None
    if not 0 < len(name) <= MAX_METHOD:
        raise LocalProtocolError(f"a method has 1 to {MAX_METHOD} bytes, this one has {len(name)}: {method!r}")
    return name


def _known(command: int) -> int:
    bare = command & COMMAND_MASK
    if bare == STREAM:
        return command
    return bare if REQUEST <= bare < STREAM else 0


_COMMANDS: Final[bytes] = bytes(map(_known, range(256)))
"""What a command byte means: itself with its stream bits, another command without them, 0 for none that exists."""


class Splitter:
    """Cuts a connection's bytes into frames, however they are chunked.

    ``error`` is set, once, by a header that ends the connection; the frames before it are still handed out. Whole
    frames are cut out of the chunk they came in. The chunks of an unfinished one are kept until it is whole: what it
    holds grows with the bytes that arrive, never with the length that its header claims.
    """

    __slots__ = ("_need", "_parts", "error", "limit", "unfinished")

    def __init__(self, max_body: int) -> None:
        self.limit = max_body
        self.unfinished = 0
        """Bytes that wait here for the rest of their frame."""
        self.error: RemoteProtocolError | None = None
        self._need = HEADER_SIZE
        self._parts: list[bytes | bytearray] = []

    @property
    def idle(self) -> bool:
        """No frame has begun, and none was wrong: the next byte is the first of a header."""
        return not self.unfinished and self.error is None

    def clear(self) -> None:
        """Forgets the frame that has begun."""
        self.unfinished = 0
        self._parts.clear()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that end within ``data``. A method that is claimed to be longer than its frame comes out empty."""
        frames: list[Frame] = []
        if self.unfinished:
            self._keep(data)
            if self.unfinished < self._need:
                return frames
            data = self._complete(frames)
        elif self.error is not None:
            return frames
        at = 0
        size = len(data)
        limit = self.limit
        while at + 16 <= size:
            length, reserved, command, flag, method_size, seq = _unpack_from(data, at)
            known = _COMMANDS[command]
            if length > limit or not known:
                self.error = _refusal(length, limit, command)
                return frames
            start = at + 16
            end = start + length
            if end > size:
                self._need = end - at
                self._keep(data[at:])
                return frames
            split = start + method_size
            if method_size > length:
                split = end = start
            frames.append((known, flag, reserved, seq, data[start:split], data[split:end]))
            at = start + length
        if at < size:
            self._need = HEADER_SIZE
            self._keep(data[at:])
        return frames

    def _keep(self, data: bytes) -> None:
        """Keeps the chunk as it is; small ones are put together, since each object costs more than its bytes."""
        parts = self._parts
        if len(data) >= CHUNK:
            parts.append(data)
        elif parts and type(parts[-1]) is bytearray and len(parts[-1]) < CHUNK:
            parts[-1] += data
        else:
            parts.append(bytearray(data))
        self.unfinished += len(data)

    def _complete(self, frames: list[Frame]) -> bytes:
        """Takes the collected frame out of its chunks, each byte copied once, and returns what came after it."""
        need, parts, size = self._need, self._parts, self.unfinished
        self._parts = []
        self.unfinished = 0
        if need == HEADER_SIZE:
            return b"".join(parts)
        if len(parts[0]) < HEADER_SIZE + MAX_METHOD:
            parts = [b"".join(parts)]
        length, reserved, command, flag, method_size, seq = _unpack_from(parts[0], 0)
        known = _COMMANDS[command]
        split = HEADER_SIZE + method_size
        views = [memoryview(part) for part in parts]
        method, rest = bytes(views[0][HEADER_SIZE:split]), bytes(views[-1][len(views[-1]) - (size - need) :])
        views[-1] = views[-1][: len(views[-1]) - (size - need)]
        views[0] = views[0][split:]
        if method_size > length:
            method, views = b"", []
        frames.append((known, flag, reserved, seq, method, b"".join(views)))
        return rest


def _refusal(length: int, limit: int, command: int) -> RemoteProtocolError:
    if not _COMMANDS[command]:
        return RemoteProtocolError(f"unknown command {command & COMMAND_MASK}: not an arpc peer, or a newer one")
    return RemoteProtocolError(f"a frame claims a body of {length} bytes, {limit} are accepted (max_body)")
