"""The values that codecs are measured with, each in the form that every codec takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from benchmarks import messages

ROWS = 50
FLOATS = 12_500


@dataclass(frozen=True, slots=True)
class Body:
    """One value in all of its forms."""

    name: str
    title: str
    plain: Any
    """Of dicts and lists."""
    typed: Any
    """Of Structs."""
    type: Any
    """Of the typed one."""
    message: Any
    """Of protobuf."""
    array: Any = None
    """Of numpy, where it is one."""


class Row(msgspec.Struct):
    id: int
    name: str
    price: float
    ready: bool
    tags: list[str]


class Numbers(msgspec.Struct):
    values: list[float]


def bodies() -> list[Body]:
    """The suite's message, a table, an array. Raises ImportError where protobuf or numpy is not installed."""
    return [_message(), _rows(), _floats()]


def _message() -> Body:
    message = messages.request()
    plain = {field.name: value for field, value in message.ListFields()}
    record = msgspec.defstruct("Record", [(name, type(value)) for name, value in plain.items()])
    title = f"the suite's message of {len(plain)} fields, 581 bytes of protobuf"
    return Body("message", title, plain, record(**plain), record, message)


def _rows() -> Body:
    rows = [Row(number, f"row {number}", number * 1.5, number % 2 == 0, ["new", "red"]) for number in range(ROWS)]
    plain = msgspec.to_builtins(rows)
    row, table = _classes()["Row"], _classes()["Rows"]
    return Body("rows", f"{ROWS} rows of 5 fields", plain, rows, list[Row], table(rows=[row(**one) for one in plain]))


def _floats() -> Body:
    import numpy

    values = [number * 1.1 for number in range(FLOATS)]
    message = _classes()["Numbers"](values=values)
    title = f"{FLOATS:,} floats, 100 KB"
    return Body("floats", title, {"values": values}, Numbers(values), Numbers, message, numpy.array(values))


@cache
def _classes() -> dict[str, Any]:
    """Message classes as protoc would make them of `Row`, of a list of them and of `Numbers`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = {"int": "INT64", "str": "STRING", "float": "DOUBLE", "bool": "BOOL", "Row": "MESSAGE"}
    fields = {
        "Row": {"id": "int", "name": "str", "price": "float", "ready": "bool", "tags": "list[str]"},
        "Rows": {"rows": "list[Row]"},
        "Numbers": {"values": "list[float]"},
    }
    proto = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="codec_bodies.proto", package="bodies", syntax="proto3")
    for name, types in fields.items():
        message = file.message_type.add(name=name)
        for number, (field, written) in enumerate(types.items(), 1):
            kind = written.removeprefix("list[").removesuffix("]")
            label = "OPTIONAL" if kind == written else "REPEATED"
            message.field.add(
                name=field,
                number=number,
                type=proto.Type.Value(f"TYPE_{kinds[kind]}"),
                label=proto.Label.Value(f"LABEL_{label}"),
                type_name=".bodies.Row" if kind == "Row" else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call,unused-ignore]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"bodies.{name}")) for name in fields}
