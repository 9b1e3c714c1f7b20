"""Metadata beside a body: what users give, and the keys that arpc itself reads and writes (PROTOCOL part 2, META)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import ceil
from time import monotonic
from types import MappingProxyType
from typing import Any, Final, cast

from .errors import EncodeError, LimitExceeded, LocalProtocolError, RemoteProtocolError
from .frame import FLAG_ERROR, RESPONSE, Frame
from .hooks import Message
from .options import MAX_TIME
from .trailer import MAX_VALUE, make_trailer

log = logging.getLogger("arpc")

__all__ = ["NOTHING", "Metadata", "add_values", "error_trailer", "read_metadata", "split_values", "trailer"]

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
"""No metadata."""

OURS: Final = frozenset({"timeout", "code", "details"})
"""Keys that are arpc's own; users neither give nor see them."""

TRACE: Final = frozenset({"traceparent", "tracestate"})
"""Keys with a text that others read (W3C Trace Context)."""

REMEMBERED: Final = 1024


class Metadata:
    """What came beside a body."""

    __slots__ = ("_carried", "_raw", "_values", "code", "deadline", "details")

    def __init__(
        self,
        values: Mapping[str, Any] | None = NOTHING,
        deadline: float | None = None,
        code: str | None = None,
        details: Any = None,
        raw: bytes = b"",
        carried: int = 0,
    ) -> None:
        self._values = values
        self._raw = raw
        self._carried = carried
        self.deadline = deadline
        """When the sender stops waiting, by this machine's monotonic clock."""
        self.code = code
        self.details = details

    @property
    def values(self) -> Mapping[str, Any]:
        """What the sender's user gave. Large ones are made when they are asked for: they may hold far more memory than
        they took on the wire."""
        if self._values is None:
            self._values = _given(_decoded(self._raw))
        return self._values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Metadata) and repr(self) == repr(other)

    def __repr__(self) -> str:
        return f"Metadata({dict(self.values)}, {self.deadline}, {self.code!r}, {self.details!r})"

    @property
    def size(self) -> int:
        """Bytes that are held for them while a message waits."""
        return len(self._raw) + self._carried


_trailers: dict[Any, bytes] = {}
"""Trailers that were made before, by their texts and milliseconds: most metadata say the same again."""

_read: dict[bytes, tuple[Mapping[str, Any], float | None]] = {}
"""Values of such trailers that were read before: what they say, and the seconds of their timeout."""

_SMALL: Final = 256
"""Bytes of a value up to which it is remembered."""


def trailer(values: Mapping[str, Any] | None, timeout: float | None) -> bytes:
    """The trailer of a message; ``timeout``: seconds that are left.

    Raises LocalProtocolError, EncodeError, LimitExceeded.
    """
    milliseconds = None if timeout is None else _milliseconds(timeout)
    key: Any = milliseconds
    if values:
        try:
            key = (*values.items(), milliseconds)
            made = _trailers.get(key)
        except (AttributeError, TypeError):  # it is no mapping, or holds what has no hash
            key = made = None
        if made is not None:
            return made
        values = _checked(values)
        if not all(type(value) is str for value in values.values()):  # 1, 1.0 and True are the same key
            key = None
    elif milliseconds is None:
        return b""
    else:
        made = _trailers.get(key)
        if made is not None:
            return made
    made = _trailer({**(values or NOTHING), **({} if milliseconds is None else {"timeout": milliseconds})})
    if key is not None and len(made) <= _SMALL:
        if len(_trailers) >= REMEMBERED:
            _trailers.clear()
        _trailers[key] = made
    return made


def split_values(
    values: Mapping[str, Any], names: frozenset[str] | None
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What coders carry of these metadata, by their ``names`` or all, and what is left for META.

    Raises LocalProtocolError.
    """
    checked = _checked(values)
    if names is None:
        return checked, NOTHING
    return {key: checked[key] for key in checked if key in names}, {
        key: checked[key] for key in checked if key not in names
    }


def add_values(frame: Message, values: dict[str, Any], size: int) -> Metadata:
    """The metadata of a frame from which coders took these values, of ``size`` bytes."""
    known = frame[2]
    given = _given(values)
    if not isinstance(known, Metadata):
        return Metadata(given, carried=size)
    merged = MappingProxyType({**known.values, **given})
    return Metadata(merged, known.deadline, known.code, known.details, carried=known.size + size)


def error_trailer(code: str | None, details: Any) -> bytes:
    """The trailer of an error. A code or details that are too large, or that cannot be encoded, stay here and are
    logged."""
    made, values = b"", dict[str, Any]()
    for key, value in (("code", None if code is None else str(code)), ("details", details)):
        if value is None:
            continue
        try:
            made = _trailer({**values, key: value})
        except (EncodeError, LimitExceeded) as error:
            log.warning("the %s of an error cannot travel: %s", key, error)
        else:
            values[key] = value
    return made


def _milliseconds(timeout: float) -> int:
    return max(ceil(timeout * 1000), 1)


def _checked(values: Mapping[str, Any]) -> Mapping[str, Any]:
    given = cast(object, values)
    if not isinstance(given, Mapping):
        raise LocalProtocolError(f"metadata are a mapping of names to values, not {values!r}")
    for key, value in values.items():
        if not isinstance(cast(object, key), str):
            raise LocalProtocolError(f"a key of metadata is a text, not {key!r}")
        if key in OURS:
            instead = "say timeout=" if key == "timeout" else "raise an arpc.RpcError with it"
            raise LocalProtocolError(f"{key!r} in metadata is arpc's own: {instead}, or take another key")
        if key in TRACE and not isinstance(value, str):
            raise LocalProtocolError(f"{key!r} in metadata is a text (W3C Trace Context), not {value!r}")
    return values


def _trailer(values: Mapping[str, Any]) -> bytes:
    from msgspec import msgpack

    try:
        value = msgpack.encode(dict(values))
    except Exception as error:
        raise EncodeError(f"metadata cannot be encoded: {error}") from error
    if len(value) > MAX_VALUE:
        raise LimitExceeded(f"metadata of {len(value)} bytes: at most {MAX_VALUE} can be sent")
    return make_trailer(value)


def read_metadata(frame: Frame, value: bytes) -> Metadata:
    """What a trailer's value says beside this frame; RemoteProtocolError if it is not what META allows."""
    if frame[0] == RESPONSE:
        return _read_answer(frame, value)
    known = _read.get(value)
    values, seconds = known if known is not None else _read_asking(value)
    deadline = None if seconds is None else monotonic() + seconds
    return Metadata(values, deadline) if values is not None else Metadata(None, deadline, raw=value)


def _read_asking(value: bytes) -> tuple[Mapping[str, Any] | None, float | None]:
    """The values, or None if they are large, and the seconds that are left to their sender."""
    values = _decoded(value)
    milliseconds = values.get("timeout")
    seconds = None if milliseconds is None else _seconds(milliseconds)
    if len(value) > _SMALL:
        return None, seconds
    known = _given(values), seconds
    if all(isinstance(one, _PLAIN) for one in known[0].values()):
        if len(_read) >= REMEMBERED:
            _read.clear()
        _read[value] = known
    return known


def _given(values: dict[str, Any]) -> Mapping[str, Any]:
    """What a user has given, without what is arpc's own."""
    for key in OURS:
        values.pop(key, None)
    return MappingProxyType(values) if values else NOTHING


def _read_answer(frame: Frame, value: bytes) -> Metadata:
    values = _decoded(value)
    code, details = values.get("code"), values.get("details")
    if not frame[1] & FLAG_ERROR:
        code = details = None
    elif code is not None and not isinstance(code, str):
        raise RemoteProtocolError(f"the code of an error is a text, not {code!r}")
    return Metadata(_given(values), code=code, details=details)


_PLAIN: Final = (str, int, float, bytes, type(None))
"""Values that nobody can change, so that one map of them may be handed out more than once."""


def _decoded(value: bytes) -> dict[str, Any]:
    from msgspec import msgpack

    try:
        values: Any = msgpack.decode(value)
    except RecursionError:
        raise RemoteProtocolError("metadata are nested too deep") from None
    except Exception as error:
        raise RemoteProtocolError(f"metadata are not MessagePack: {error}") from None
    if not isinstance(values, dict):
        raise RemoteProtocolError(f"metadata are a map, not {type(values).__name__}")
    known = cast("dict[str, Any]", values)
    for key in cast("dict[object, Any]", values):
        if not isinstance(key, str):
            raise RemoteProtocolError(f"a key of metadata is a text, not {key!r}")
    for key in TRACE:
        if known.get(key) is None:
            known.pop(key, None)
        elif not isinstance(known[key], str):
            raise RemoteProtocolError(f"{key!r} in metadata is a text, not {known[key]!r}")
    return known


def _seconds(milliseconds: Any) -> float:
    if type(milliseconds) is not int or milliseconds < 1:
        raise RemoteProtocolError(f"a timeout is a whole number of milliseconds from 1 on, not {milliseconds!r}")
    return min(milliseconds / 1000, MAX_TIME)
