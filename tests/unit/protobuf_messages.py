"""Protobuf message classes made at run time, so that no test needs protoc.

// proto3                            // proto2
message Person {                     message Order {
  string name = 1;                     required int32 id = 1;
  int32 age = 2;                       optional Order parent = 2;
  repeated string tags = 3;          }
  Person friend = 4;
}
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
OPTIONAL, REQUIRED, REPEATED = Field.LABEL_OPTIONAL, Field.LABEL_REQUIRED, Field.LABEL_REPEATED


def _classes() -> tuple[Any, Any]:
    pool = descriptor_pool.DescriptorPool()

    modern = descriptor_pb2.FileDescriptorProto(name="modern.proto", package="shop", syntax="proto3")
    person = modern.message_type.add(name="Person")
    person.field.add(name="name", number=1, type=Field.TYPE_STRING, label=OPTIONAL)
    person.field.add(name="age", number=2, type=Field.TYPE_INT32, label=OPTIONAL)
    person.field.add(name="tags", number=3, type=Field.TYPE_STRING, label=REPEATED)
    person.field.add(name="friend", number=4, type=Field.TYPE_MESSAGE, label=OPTIONAL, type_name=".shop.Person")
    pool.Add(modern)  # type: ignore[no-untyped-call,unused-ignore]

    older = descriptor_pb2.FileDescriptorProto(name="older.proto", package="shop", syntax="proto2")
    order = older.message_type.add(name="Order")
    order.field.add(name="id", number=1, type=Field.TYPE_INT32, label=REQUIRED)
    order.field.add(name="parent", number=2, type=Field.TYPE_MESSAGE, label=OPTIONAL, type_name=".shop.Order")
    pool.Add(older)  # type: ignore[no-untyped-call,unused-ignore]

    find = pool.FindMessageTypeByName
    return tuple(message_factory.GetMessageClass(find(name)) for name in ("shop.Person", "shop.Order"))  # type: ignore[return-value]


Person, Order = _classes()
