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
    frames are cut out of the chunk they came in; an unfinished one is collected in one buffer that grows with the
    bytes that arrive, never with the length that its header claims.
    """

    __slots__ = ("_buffer", "_limit", "_need", "error")

    def __init__(self, max_body: int) -> None:
        self._limit = max_body
        self._buffer: bytearray | None = None
        self._need = HEADER_SIZE
        self.error: RemoteProtocolError | None = None

    @property
    def unfinished(self) -> int:
        """Bytes that wait here for the rest of their frame."""
        return 0 if self._buffer is None else len(self._buffer)

    def clear(self) -> None:
        """Forgets the frame that has begun."""
        self._buffer = None

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that end within ``data``. A method that is claimed to be longer than its frame comes out empty."""
        frames: list[Frame] = []
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._need:
                return frames
            data = self._complete(frames)
        elif self.error is not None:
            return frames
        at = 0
        size = len(data)
        limit = self._limit
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
                self._buffer = bytearray(data[at:])
                return frames
            split = start + method_size
            if method_size > length:
                split = end = start
            frames.append((known, flag, reserved, seq, data[start:split], data[split:end]))
            at = start + length
        if at < size:
            self._need = HEADER_SIZE
            self._buffer = bytearray(data[at:])
        return frames

    def _complete(self, frames: list[Frame]) -> bytes:
        """Takes the collected frame out of its buffer, each part copied once, and returns what came after it."""
        assert self._buffer is not None
        buffer, self._buffer = self._buffer, None
        if self._need == HEADER_SIZE:
            return bytes(buffer)
        length, reserved, command, flag, method_size, seq = _unpack_from(buffer, 0)
        known = _COMMANDS[command]
        if method_size > length:
            method_size = length = 0
        split = HEADER_SIZE + method_size
        with memoryview(buffer) as view:
            method, data = bytes(view[HEADER_SIZE:split]), bytes(view[split : HEADER_SIZE + length])
            frames.append((known, flag, reserved, seq, method, data))
            return bytes(view[self._need :])


def _refusal(length: int, limit: int, command: int) -> RemoteProtocolError:
    if not _COMMANDS[command]:
        return RemoteProtocolError(f"unknown command {command & COMMAND_MASK}: not an arpc peer, or a newer one")
    return RemoteProtocolError(f"a frame claims a body of {length} bytes, {limit} are accepted (max_body)")
