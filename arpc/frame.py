"""The 16-byte header, and the splitter that finds frames in whatever chunks a connection delivers (PROTOCOL part 1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
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
CANCEL: Final = 7
RESET: Final = 8
CREDIT: Final = 9
GOAWAY: Final = 10

STREAM_LOCAL: Final = 0x80
STREAM_EOF: Final = 0x40
COMMAND_MASK: Final = 0x3F

FLAG_ERROR: Final = 0x01
FLAG_ASYNC: Final = 0x02

RESERVED_META: Final = 0x02
"""Reserved bit 1: the data ends with a trailer of metadata (PROTOCOL part 2, META)."""
RESERVED_EMPTY: Final = 0x04
"""Reserved bit 2: this frame of a stream carries an item although its data is empty (PROTOCOL part 2, EMPTY)."""
CARRIED: Final = 0x100
"""Above the wire's eight bits: coders took values off this frame."""

CODED: Final = 0x1F
"""What stands in place of the command where a coder has hidden it, as gzip's second byte does (PROTOCOL, coders)."""

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


@lru_cache
def known_commands(extensions: tuple[int, ...] = ()) -> bytes:
    """What each command byte means: itself with its stream bits, another command without them, 0 for none that exists.

    ``extensions``: the commands from ``CANCEL`` on that were agreed upon.
    """

    def meaning(command: int) -> int:
        bare = command & COMMAND_MASK
        if bare == STREAM:
            return command
        if REQUEST <= bare < STREAM or bare in extensions:
            return command & ~STREAM_EOF if bare in (RESET, CREDIT) else bare
        return 0

    return bytes(map(meaning, range(256)))


_CODERS: Final = {3: "Encrypt", 5: "Lz4", 6: "Zstd", 7: "Gzip"}
"""Coders that come with arpc, by their bits."""


def unknown_coder(bits: int) -> RemoteProtocolError:
    """The error of a frame with reserved bits of a coder that is not used here."""
    named = [f"{bit} ({_CODERS[bit]})" if bit in _CODERS else str(bit) for bit in range(8) if bits >> bit & 1]
    return RemoteProtocolError(
        f"the other side uses a coder that is not used here, on reserved bit {', '.join(named)}: give both sides the"
        " same coders=[...]"
    )


def unknown_command(command: int, reserved: int = 0) -> RemoteProtocolError:
    """The error of a command that does not exist, was not agreed upon, or is hidden by a coder."""
    bare = command & COMMAND_MASK
    if command == CODED and reserved:
        return unknown_coder(reserved)
    return RemoteProtocolError(f"unknown command {bare}: not an arpc peer, a newer one, or its Hello came too late")


class Splitter:
    """Cuts a connection's bytes into frames, however they are chunked.

    ``error`` is set, once, by a header that ends the connection; the frames before it are still handed out. Whole
    frames are cut out of the chunk they came in. The chunks of an unfinished one are kept until it is whole: what it
    holds grows with the bytes that arrive, never with the length that its header claims.
    """

    __slots__ = ("_need", "_parts", "commands", "error", "limit", "unfinished")

    def __init__(self, max_body: int) -> None:
        self.limit = max_body
        self.commands = known_commands()
        self.unfinished = 0
        """Bytes that wait here for the rest of their frame."""
        self.error: RemoteProtocolError | None = None
        self._need = HEADER_SIZE
        self._parts: list[bytes | bytearray] = []

    @property
    def needs(self) -> int:
        """Bytes until the header, or the frame, that is under way is whole."""
        return self._need - self.unfinished if self.unfinished else HEADER_SIZE

    def clear(self) -> None:
        """Forgets the frame that has begun."""
        self.unfinished = 0
        self._parts.clear()

    def feed(self, data: bytes, at: int = 0) -> list[Frame]:
        """The frames that end within ``data``, from ``at`` on.

        A method that is claimed to be longer than its frame comes out empty.
        """
        frames: list[Frame] = []
        if self.unfinished:
            data, at = self.finish(data, frames)
        elif self.error is not None:
            return frames
        size = len(data)
        limit = self.limit
        commands = self.commands
        while at + 16 <= size:
            length, reserved, command, flag, method_size, seq = _unpack_from(data, at)
            known = commands[command]
            if length > limit or not known:
                self.error = too_large(length, limit) if known else unknown_command(command, reserved)
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

    def finish(self, data: bytes, frames: list[Frame]) -> tuple[bytes, int]:
        """Completes the frame that has begun, each byte copied once; returns what is to be read on, and from where."""
        missing = self._need - self.unfinished
        if len(data) < missing:
            self._keep(data)
            return b"", 0
        if self._need == HEADER_SIZE:
            data = b"".join((*self._parts, data))
            self.clear()
            return data, 0
        if missing:
            self._keep(data[:missing])
        parts = self._parts
        self._parts = []
        self.unfinished = 0
        if len(parts[0]) < HEADER_SIZE + MAX_METHOD:
            parts = [b"".join(parts)]
        length, reserved, command, flag, method_size, seq = _unpack_from(parts[0], 0)
        known = self.commands[command]
        split = HEADER_SIZE + method_size
        method = bytes(parts[0][HEADER_SIZE:split])
        body = b"".join((memoryview(parts[0])[split:], *parts[1:]))
        if method_size > length:
            method = body = b""
        frames.append((known, flag, reserved, seq, method, body))
        return data, missing


def too_large(length: int, limit: int) -> RemoteProtocolError:
    """The error of a header whose body would be past the limit."""
    return RemoteProtocolError(f"a frame claims a body of {length} bytes, {limit} are accepted (max_body)")
