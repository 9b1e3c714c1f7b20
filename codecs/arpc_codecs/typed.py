"""What codecs with plain values share: decoding without RecursionErrors, and types refused early that can't work."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

from msgspec import convert, inspect

from .arrays import is_array_type
from .pydantic import is_model, plain_decoder, understands

__all__ = ["TOO_DEEP", "compiled", "converted", "guarded"]

T = TypeVar("T")

TOO_DEEP = "nested too deeply"

Hook = Callable[[Any, Any], Any]
"""Makes, for msgspec, an object of a class that it doesn't know of a plain value."""


def guarded(decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """``decode``, but with a ValueError in place of the RecursionError that very deep data gives."""

    def guard(data: bytes) -> T:
        try:
            return decode(data)
        except RecursionError as error:
            raise ValueError(TOO_DEEP) from error

    return guard


def compiled(
    decoder: Callable[..., Any],
    type: Any,
    plain: Iterable[type],
    model_decoder: Callable[[Any], Callable[[Any], Any]] = plain_decoder,
) -> Callable[[bytes], Any]:
    """The guarded ``decode`` of msgspec's ``decoder(type)``; ``plain`` are the classes of that format's plain values.

    ``model_decoder`` makes, of a class of pydantic's within the type, what reads its plain value. Raises TypeError for
    a type that msgspec refuses, and for one that can never come out of a body.
    """
    try:
        hook = _checked(type, plain, model_decoder)
        decode = decoder(type, dec_hook=hook).decode
    except RecursionError as error:
        raise TypeError(f"the type is {TOO_DEEP}, or an alias that contains itself; make it a class") from error
    return guarded(decode)


def converted(
    decode: Callable[[bytes], Any], type: Any, plain: Iterable[type] = (object,), natives: Iterable[type] = ()
) -> Callable[[bytes], Any]:
    """As :func:`compiled`, of a codec that msgspec doesn't speak: ``decode`` makes the plain values.

    ``natives``: those of them that its format tells from text (bytes, times...), so that text is not taken for them.
    """
    if understands(type):
        read = plain_decoder(type)
        return guarded(lambda data: read(decode(data)))
    try:
        hook = _checked(type, plain, plain_decoder)
    except RecursionError as error:
        raise TypeError(f"the type is {TOO_DEEP}, or an alias that contains itself; make it a class") from error
    return guarded(lambda data: convert(decode(data), type, builtin_types=natives, dec_hook=hook))


def _checked(type: Any, plain: Iterable[type], model_decoder: Callable[[Any], Callable[[Any], Any]]) -> Hook | None:
    """What msgspec needs for the classes of pydantic's within ``type``.

    Raises TypeError if ``type`` is, or holds, a class of which no plain value can be an instance: msgspec compiles a
    class that it doesn't know into "the plain value, if that is an instance of the class". That makes sense for
    ``object`` or an abstract class, but for most classes it would refuse every body, call after call.
    """
    readers: dict[Any, Callable[[Any], Any]] = {}
    whole = getattr(type, "__name__", repr(type)) if isinstance(type, builtins.type) else repr(type)
    for info in _classes(inspect.type_info(type), set()):
        cls = info.cls
        if isinstance(info, inspect.DataclassType):
            if is_model(cls):
                raise TypeError(
                    f"cannot decode into {whole}: {_name(cls)} is a dataclass of pydantic's, whose rules would "
                    "not apply there; make it a BaseModel"
                )
        elif is_model(cls):
            readers[cls] = model_decoder(cls)
        elif is_array_type(cls):
            raise TypeError(
                f'cannot decode into {whole}: arrays travel with the raw codec only (codec="raw"); or send their items '
                "as a list: array.tolist()"
            )
        elif not any(_may_be(value, cls) for value in plain):
            raise TypeError(
                f"cannot decode into {whole}: {_name(cls)} is none of dataclass, msgspec.Struct, TypedDict, "
                "NamedTuple, Enum, attrs class, pydantic model or built-in type; use one of those, or a codec that "
                "knows it"
            )
    if not readers:
        return None

    def hook(cls: Any, value: Any) -> Any:
        read = readers.get(cls)
        return value if read is None else read(value)

    return hook


def _name(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _may_be(value: type, cls: type) -> bool:
    try:
        return issubclass(value, cls)
    except TypeError:  # a Protocol that can't be checked at run time
        return False


def _classes(info: object, seen: set[int]) -> Iterator[inspect.CustomType | inspect.DataclassType]:
    """Classes below ``info`` that msgspec doesn't know, and dataclasses, wherever nested. Types may be recursive."""
    if isinstance(info, tuple):
        for item in cast("tuple[object, ...]", info):
            yield from _classes(item, seen)
    elif isinstance(info, inspect.CustomType):
        yield info
    elif isinstance(info, inspect.Type | inspect.Field) and id(info) not in seen:
        seen.add(id(info))
        if isinstance(info, inspect.DataclassType):
            yield info
        for name in info.__struct_fields__:
            yield from _classes(getattr(info, name), seen)
