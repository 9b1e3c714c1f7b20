"""The contract of a coder, and the way to the coders themselves.

The coders live in ``arpc_codecs.coders`` and are loaded when first used: ``from arpc.coders import Gzip``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from .frame import HEADER_SIZE
from .options import Options

if TYPE_CHECKING:
    from arpc_codecs.coders import Appender, Encrypt, Gzip, Lz4, MsgpackValues, OpenTracing, SpanContext, Zstd

__all__ = [
    "Appender",
    "Coder",
    "Encrypt",
    "Gzip",
    "Lz4",
    "MsgpackValues",
    "OpenTracing",
    "SpanContext",
    "Zstd",
    "check_coders",
    "make_frame",
]

MAX_SHORT = 255
"""Bytes of a name, or of an offer, in a Hello; and coders of an endpoint."""


class Coder:
    """Transforms whole frames. Subclass it, name it, write :meth:`encode` and :meth:`decode`, done (docs/coders.md).

    A frame is its 16-byte header and its body (PROTOCOL, Frames). A coder makes another frame of it, of 16 bytes or
    more: ``body_len`` says what is there (:func:`make_frame`), bits of others are kept, byte 5 is kept or 0x1f, and all
    behind it may be anything. One object serves all connections of an endpoint, unless it has :meth:`start`.
    """

    name: str = ""
    """What the Hello and errors call it, 1 to 255 bytes; the same on both sides."""

    bit: int | None = None
    """The bit of ``reserved``, 0 to 7, that says that a frame went through this coder. None: every frame does."""

    required: bool = False
    """The other side must have it, too, or the connection is closed. Else it is used where both sides have it."""

    needs_hello: bool = False
    """It cannot be used with a base peer (Go). All others are used there: both sides agree by what they register."""

    carries: frozenset[str] | None = frozenset()
    """Keys of ``metadata=`` that this coder carries, in place of META; None for all."""

    hides_method = False
    """What it makes may hide what is behind the bits: method, command and number."""
    reads_method = False
    """It has to see those: it stands before whatever hides them."""
    overhead: int = 0
    """Bytes that it may add to any frame, without the values that it carries."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.name or cls.__name__

    def __repr__(self) -> str:
        return f"<coder {self.name!r}>"

    @property
    def has_state(self) -> bool:
        """Each connection has an object of its own; such coders are registered after all others."""
        return type(self).start is not Coder.start

    def start(self) -> Coder:
        """The coder of one connection; ``self`` serves all of them where it remembers nothing between frames."""
        return self

    def offer(self) -> bytes:
        """What the Hello says about it, at most 255 bytes."""
        return b""

    def accept(self, offer: bytes, *, dialled: bool) -> None:
        """What the other side's Hello said, before any frame is coded; ``dialled``: this side has dialled.

        What it raises closes the connection, and is raised by ``connect()``.
        """

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        """The frame that travels. ``values``: what this message says in metadata that coders carry.

        What it raises goes to whoever sends, as :class:`~arpc.EncodeError`; LimitExceeded as it is.
        """
        raise NotImplementedError(f"{type(self).__name__} has no encode()")

    def decode(self, frame: bytes, values: dict[str, Any], limit: int) -> bytes:
        """The frame that :meth:`encode` was given; what it carried is put into ``values``.

        A frame without :attr:`bit` comes out as it is. ``limit``: bytes of the largest body that may come out; stop
        there, whatever the frame claims. Whatever this raises closes the connection.
        """
        raise NotImplementedError(f"{type(self).__name__} has no decode()")


def make_frame(bits: int, *rest: bytes) -> bytes:
    """A frame of these bits of ``reserved`` and of all that follows them, byte 5 first; ``body_len`` is set."""
    length = max(5 + sum(map(len, rest)) - HEADER_SIZE, 0)
    return b"".join((length.to_bytes(4, "little"), bytes((bits,)), *rest))


def check_coders(coders: Iterable[Coder], options: Options) -> tuple[Coder, ...]:
    """The coders of an endpoint, in the order of registration. ValueError or TypeError for what cannot work."""
    if not isinstance(cast(object, coders), Iterable):
        raise TypeError(f"coders is a list: coders=[{coders!r}]")
    checked = tuple(coders)
    if len(checked) > MAX_SHORT:
        raise ValueError(f"at most {MAX_SHORT} coders, not {len(checked)}")
    names: dict[str, Coder] = {}
    bits: dict[int, str] = {}
    stateful = hiding = ""
    for coder in checked:
        _check_kind(coder)
        name, bit = coder.name, coder.bit
        if name in names:
            raise ValueError(f"two coders are called {name!r}: {names[name]!r} and {coder!r}")
        names[name] = coder
        if bit is not None:
            _check_bit(name, bit, options)
            if bit in bits:
                raise ValueError(f"the coders {bits[bit]!r} and {name!r} use the same bit, {bit}")
            bits[bit] = name
        if coder.needs_hello and not options.extensions:
            raise ValueError(f"the coder {name!r} needs the Hello, and extensions=False leaves that out")
        if stateful and not coder.has_state:
            raise ValueError(
                f"the coder {name!r} stands after {stateful!r}, which has a state: register those with one last"
            )
        stateful = name if coder.has_state else stateful
        if hiding and coder.reads_method:
            raise ValueError(f"the coder {name!r} has to see the method, which {hiding!r} may hide: register it before")
        hiding = name if coder.hides_method else hiding
    return checked


def _check_kind(coder: Coder) -> None:
    if not isinstance(cast(object, coder), Coder):
        hint = ": write Gzip(), an object" if isinstance(cast(object, coder), type) else ""
        raise TypeError(f"a coder is an object of a subclass of arpc.coders.Coder, not {coder!r}{hint}")
    for method in ("encode", "decode"):
        if getattr(type(coder), method) is getattr(Coder, method):
            raise TypeError(f"the coder {coder.name!r} has no {method}()")
    if not 0 < len(coder.name.encode()) <= MAX_SHORT:
        raise ValueError(f"the name of a coder has 1 to {MAX_SHORT} bytes: {coder.name!r}")
    offer = cast(object, coder.start().offer())
    if not isinstance(offer, bytes) or len(offer) > MAX_SHORT:
        raise ValueError(f"the offer of the coder {coder.name!r} is up to {MAX_SHORT} bytes, not {offer!r}")
    if coder.overhead < 0:
        raise ValueError(f"overhead of the coder {coder.name!r} is a number of bytes, not {coder.overhead!r}")


def _check_bit(name: str, bit: int, options: Options) -> None:
    if bit not in range(8):
        raise ValueError(f"the coder {name!r} has the bit {bit!r}: there are bits 0 to 7")
    if (bit in (1, 2) and options.extensions) or (bit == 1 and options.metadata_appender):
        used = "META" if bit == 1 else "EMPTY"
        raise ValueError(
            f"the coder {name!r} has bit {bit}, which is that of {used}: take another, or extensions=False"
        )


def __getattr__(name: str) -> Any:
    if name in __all__:
        import arpc_codecs.coders

        return getattr(arpc_codecs.coders, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
