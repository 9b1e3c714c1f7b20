"""`BenchmarkMessage` of the rpcx suite, and what `Hello.Say` answers to it.

The class is made at run time from the numbers of its fields, as protoc's generated code does it: no generated file has
to fit the protobuf runtime. benchmarks/go/hello/hello.proto says the same for Go.
"""

from __future__ import annotations

from functools import cache
from typing import Any

SENTENCE = "许多往事在眼前一幕一幕，变的那麼模糊"
"""18 characters, 54 bytes of UTF-8."""
REQUIRED = (1, 2, 3)
FIELDS = {
    "STRING": (1, 4, 7, 9, 18, 102, 103, 129),
    "FIXED64": (5,),
    "INT64": (22,),
    "INT32": (2, 3, 6, 16, 23, 25, 29, 60, 67, 68, 100, 101, 104, 128, 130, 131, 150, 271, 272, 280),
    "BOOL": (12, 13, 14, 17, 24, 30, 59, 78, 80, 81),
}
REPEATED = "FIXED64"
VALUES: dict[str, object] = {"STRING": SENTENCE, "INT64": 100_000, "INT32": 100_000, "BOOL": True}


@cache
def message_class() -> type[Any]:
    """The message class, proto2. Raises ImportError where protobuf is not installed."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    proto = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="hello.proto", package="hello", syntax="proto2")
    message = file.message_type.add(name="BenchmarkMessage")
    for kind, numbers in FIELDS.items():
        label = "REPEATED" if kind == REPEATED else "OPTIONAL"
        for number in numbers:
            message.field.add(
                name=f"field{number}",
                number=number,
                type=proto.Type.Value(f"TYPE_{kind}"),
                label=proto.Label.Value(f"LABEL_{'REQUIRED' if number in REQUIRED else label}"),
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call,unused-ignore]
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("hello.BenchmarkMessage"))


def request() -> Any:
    """What every caller of `Hello.Say` sends: each field set but the repeated one, 581 bytes encoded."""
    values = {
        f"field{number}": VALUES[kind] for kind, numbers in FIELDS.items() if kind in VALUES for number in numbers
    }
    return message_class()(**values)


def say(message: Any) -> Any:
    """What the server answers: the same message, with two fields changed."""
    message.field1 = "OK"
    message.field2 = 100
    return message


def is_said(answer: Any) -> bool:
    """Whether an answer is the one of `say`, as the rpcx suite checks it."""
    return bool(answer.field1 == "OK" and answer.field2 == 100)
