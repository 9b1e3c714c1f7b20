"""What JSON and MessagePack share: decoding without RecursionErrors, and types refused early that can't work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

from msgspec import inspect

__all__ = ["TOO_DEEP", "compiled", "guarded"]

T = TypeVar("T")

TOO_DEEP = "nested too deeply"


def guarded(decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """``decode``, but with a ValueError in place of the RecursionError that very deep data gives."""

    def guard(data: bytes) -> T:
        try:
            return decode(data)
        except RecursionError as error:
            raise ValueError(TOO_DEEP) from error

    return guard


def compiled(decoder: Callable[[Any], Any], type: Any, plain: Iterable[type]) -> Callable[[bytes], Any]:
    """The guarded ``decode`` of msgspec's ``decoder(type)``; ``plain`` are the classes of that format's plain values.

    Raises TypeError for a type that msgspec refuses, and for one that can never come out of a body.
    """
    try:
        decode = decoder(type).decode
    except RecursionError as error:
        raise TypeError(f"the type is {TOO_DEEP}, or an alias that contains itself; make it a class") from error
    _check(type, plain)
    return guarded(decode)


def _check(type: Any, plain: Iterable[type]) -> None:
    """Raise TypeError if ``type`` is, or holds, a class of which no plain value can be an instance.

    msgspec compiles a class that it doesn't know into "the plain value, if that is an instance of the class". That
    makes sense for ``object`` or an abstract class, but for most classes it would refuse every body, call after call.
    """
    for cls in _unknown_classes(inspect.type_info(type), set()):
        if not any(_may_be(value, cls) for value in plain):
            name = getattr(type, "__name__", repr(type)) if type is cls else repr(type)
            raise TypeError(
                f"cannot decode into {name}: {cls.__module__}.{cls.__qualname__} is none of dataclass, msgspec.Struct, "
                "TypedDict, NamedTuple, Enum, attrs class or built-in type; use one of those, or a codec that knows it"
            )


def _may_be(value: type, cls: type) -> bool:
    try:
        return issubclass(value, cls)
    except TypeError:  # a Protocol that can't be checked at run time
        return False


def _unknown_classes(info: object, seen: set[int]) -> Iterator[type]:
    """The classes below ``info`` that msgspec doesn't know, wherever they are nested. Types may be recursive."""
    if isinstance(info, tuple):
        for item in cast("tuple[object, ...]", info):
            yield from _unknown_classes(item, seen)
    elif isinstance(info, inspect.CustomType):
        yield info.cls
    elif isinstance(info, inspect.Type | inspect.Field) and id(info) not in seen:
        seen.add(id(info))
        for name in info.__struct_fields__:
            yield from _unknown_classes(getattr(info, name), seen)
