"""Types of pydantic's, by pydantic's own rules, for the codecs that have plain values. Needs the extra ``pydantic``.

A type can only be pydantic's where the program has imported it: nothing here does so before, and nobody else pays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args, get_origin

import msgspec

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["is_model", "json_decoder", "json_of", "plain_decoder", "plain_of", "understands"]

_SHOWN = 3
"""Errors of one body that are told."""

_DEEP = 20
"""Steps of the way to a field that are told."""


def is_model(cls: Any) -> bool:
    """A class that pydantic reads: a model, a dataclass of pydantic's, one of its own types (SecretStr, HttpUrl...)."""
    return (
        "pydantic" in sys.modules
        and isinstance(cls, type)
        and (hasattr(cls, "__pydantic_validator__") or hasattr(cls, "__get_pydantic_core_schema__"))
    )


def understands(type: Any) -> bool:
    """A class of pydantic's, or something that is made of one: ``list[Model]``, ``Model | None``, ``PositiveInt``.

    What has one in its fields only, as a Struct may, is none: it is read by msgspec, which comes back for the model.
    """
    try:
        return "pydantic" in sys.modules and any(map(_is_own, _parts(type)))
    except RecursionError:  # an alias that contains itself: msgspec says so
        return False


def _is_own(part: Any) -> bool:
    return is_model(part) or part.__class__.__module__.partition(".")[0] in ("pydantic", "annotated_types")


def _parts(type: Any) -> Iterator[Any]:
    """The type, what it is made of, and what its annotations say."""
    yield type
    for alias in ("__supertype__", "__value__"):  # of NewType, and of the type statement
        if hasattr(type, alias):
            yield from _parts(getattr(type, alias))
            return
    if get_origin(type) is Annotated:
        yield from type.__metadata__
    for argument in get_args(type):
        yield from _parts(argument)


def json_decoder(type: Any) -> Callable[[bytes], Any]:
    """A function that reads JSON into ``type``. ValueError says which field is wrong; it never shows what it held.

    Raises TypeError for a type that pydantic cannot read.
    """
    return _explaining(type, "validate_json")


def plain_decoder(type: Any) -> Callable[[Any], Any]:
    """As :func:`json_decoder`, of plain values."""
    return _explaining(type, "validate_python")


def _explaining(type: Any, method: str) -> Callable[[Any], Any]:
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        validate = getattr(TypeAdapter[Any](type), method)
    except (PydanticUserError, NameError) as error:
        reason = str(error).splitlines()[0]
        raise TypeError(f"pydantic cannot read {type!r}: {reason}") from error
    # As any dataclass, one of pydantic's is written by the names of its fields.
    names = {"by_alias": True, "by_name": True} if any(map(is_dataclass, _parts(type))) else {}

    def decode(data: Any) -> Any:
        try:
            return validate(data, **names)
        except ValidationError as error:
            raise ValueError(_explained(error)) from None

    return decode


def _explained(error: ValidationError) -> str:
    """The first errors on one line, each with its field: "$.age: Input should be a valid integer"."""
    found = error.errors(include_url=False, include_input=False)
    lines: list[str] = []
    for one in found[:_SHOWN]:
        text = one["msg"]
        if "ctx" in one and one["type"] == "union_tag_invalid":  # its text shows what came
            text = "Input should have one of the tags {expected_tags} in {discriminator}".format(**one["ctx"])
        lines.append(_way(one["loc"]) + ": " + " ".join(text.split()))
    if len(found) > _SHOWN:
        lines.append(f"and {len(found) - _SHOWN} more")
    return "; ".join(lines)


def _way(steps: tuple[int | str, ...]) -> str:
    way = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps[:_DEEP])
    return f"${way}..." if len(steps) > _DEEP else f"${way}"


def json_of(value: Any) -> bytes:
    """The JSON of a model or another object of pydantic's, by alias. TypeError for anything else."""
    _check(value)
    from pydantic_core import to_json

    return to_json(value, by_alias=True)


def plain_of(value: Any) -> Any:
    """The plain value of a model or another object of pydantic's, by alias: as in JSON, but bytes and times stay.

    TypeError for anything else.
    """
    _check(value)
    from pydantic_core import to_jsonable_python

    plain = value.__pydantic_serializer__.to_python(value, by_alias=True)
    return msgspec.to_builtins(plain, builtin_types=(bytes, bytearray, datetime), enc_hook=to_jsonable_python)


def _check(value: Any) -> None:
    if not hasattr(value.__class__, "__pydantic_serializer__"):
        raise TypeError(f"Encoding objects of type {cast(type, value.__class__).__name__} is unsupported")
