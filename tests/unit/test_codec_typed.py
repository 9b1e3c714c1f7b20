"""What the codecs with plain values have in common: the types they take and check, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, Protocol, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest

import arpc_codecs
from arpc.codecs import Codec
from arpc_codecs import CborCodec, JsonCodec, MsgpackCodec, MsgpackPackageCodec

T = TypeVar("T")

Plain = JsonCodec | MsgpackCodec | MsgpackPackageCodec | CborCodec

CODECS: list[Plain] = [JsonCodec(), MsgpackCodec(), MsgpackPackageCodec(), CborCodec()]
every = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


@dataclass
class Address:
    street: str
    zip: int = 0


@dataclass(frozen=True, slots=True)
class Frozen:
    items: tuple[int, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)


class Person(msgspec.Struct):
    name: str
    age: int
    home: Address | None = None
    friends: list[Person] = []


class Options(TypedDict):
    depth: int


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    tricks: list[str]


class Page(msgspec.Struct, Generic[T]):
    rows: list[T]


class Even(msgspec.Struct):
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("must be even")


NOON = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)
ID = UUID("12345678-1234-5678-1234-567812345678")

ROUND_TRIPS: list[tuple[Any, Any]] = [
    (Address, Address("Main", 12)),
    (Frozen, Frozen((1, 2), {"a": "b"})),
    (Person, Person("Ann", 36, Address("Main"), [Person("Bob", 5)])),
    (Options, {"depth": 3}),
    (Point, Point(1, 2.5)),
    (Colour, Colour.RED),
    (Level, Level.LOW),
    (Literal["a", "b"], "b"),
    (datetime, NOON),
    (datetime, NOON.replace(tzinfo=None)),
    (date, NOON.date()),
    (time, time(1, 2, 3)),
    (timedelta, timedelta(days=1, seconds=2, milliseconds=3)),
    (UUID, ID),
    (Decimal, Decimal("1.10")),
    (int | None, None),
    (int | None, 3),
    (int | str, "x"),
    (Cat | Dog, Dog(["sit"])),
    (Page[Address], Page([Address("Main")])),
    (list[dict[str, list[Point]]], [{"a": [Point(1)]}]),
    (dict[int, Address], {7: Address("Main")}),
    (dict[UUID, Colour], {ID: Colour.RED}),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (tuple[int, str], (1, "a")),
    (list[bytes], [b"\x00\xff"]),
    (Sequence[int], [1, 2]),
    (Mapping[str, int], {"a": 1}),
    (object, {"a": [1]}),
    (Hashable, "text"),
    (Any, {"a": [1, None, True, 2.5, "x"]}),
    (int, 2**64 - 1),
    (int, -(2**63)),
]


@every
@pytest.mark.parametrize(("type", "value"), ROUND_TRIPS, ids=lambda part: str(part)[:40])
def test_round_trip(codec: Plain, type: Any, value: Any) -> None:
    back = codec.decoder(type)(codec.encode(value))
    assert back == value
    assert back.__class__ is value.__class__


@every
def test_nested_in_plain_values(codec: Plain) -> None:
    value = {
        "person": Person("Ann", 36),
        "address": Address("Main"),
        "at": NOON,
        "id": ID,
        "price": Decimal("1.10"),
        "colour": Colour.RED,
        "rows": [{"point": Point(1, 2.0)}, {"set": {1}}, [Level.LOW]],
        "raw": b"\x00\xff",
    }

    class Shape(msgspec.Struct):
        person: Person
        address: Address
        at: datetime
        id: UUID
        price: Decimal
        colour: Colour
        rows: tuple[dict[str, Point], dict[str, set[int]], list[Level]]
        raw: bytes

    back = codec.decoder(Shape)(codec.encode(value))
    assert msgspec.structs.asdict(back) == value | {"rows": tuple(value["rows"])}  # type: ignore[arg-type]


WRONG: list[tuple[Any, Any, str]] = [
    (Person, {"name": "Ann", "age": "x"}, r"Expected `int`, got `str` - at `\$\.age`"),
    (Person, {"name": "Ann"}, r"missing required field `age`"),
    (Person, {"name": "Ann", "age": 1, "friends": [{"name": 1}]}, r"got `int` - at `\$\.friends\[0\]\.name`"),
    (Person, {"name": "Ann", "age": 1, "home": {"street": None}}, r"at `\$\.home\.street`"),
    (Person, [], r"Expected `object`, got `array`"),
    (Address, {"street": 1}, r"at `\$\.street`"),
    (Options, {}, r"missing required field `depth`"),
    (Point, ["x"], r"at `\$\[0\]`"),
    (Colour, "blue", r"Invalid enum value 'blue'"),
    (list[datetime], ["yesterday"], r"Invalid RFC3339 encoded datetime - at `\$\[0\]`"),
    (UUID, "x", r"Invalid UUID"),
    (Decimal, "x", r"Invalid decimal string"),
    (int | None, "x", r"Expected `int \| null`, got `str`"),
    (Cat | Dog, {"type": "Cow"}, r"Invalid value 'Cow' - at `\$\.type`"),
    (dict[str, list[int]], {"a": [1, "x"]}, r"at `\$\[...\]\[1\]`"),
    (int, "1", r"Expected `int`, got `str`"),
    (int, 1.5, r"Expected `int`, got `float`"),
    (int, True, r"Expected `int`, got `bool`"),
    (bool, 1, r"Expected `bool`, got `int`"),
    (str, 1, r"Expected `str`, got `int`"),
    (Even, {"number": 3}, r"must be even"),
    (Annotated[int, msgspec.Meta(ge=0)], -1, r"Expected `int` >= 0"),
]


@every
@pytest.mark.parametrize(("type", "value", "message"), WRONG, ids=lambda part: str(part)[:40])
def test_a_wrong_value_is_named(codec: Plain, type: Any, value: Any, message: str) -> None:
    decode = codec.decoder(type)
    with pytest.raises(ValueError, match=message) as caught:
        decode(codec.encode(value))
    assert isinstance(caught.value, msgspec.ValidationError)


@every
def test_unknown_fields_are_ignored_unless_forbidden(codec: Plain) -> None:
    class Strict(msgspec.Struct, forbid_unknown_fields=True):
        age: int

    body = codec.encode({"name": "Ann", "age": 1, "more": [{}]})
    assert codec.decoder(Person)(body) == Person("Ann", 1)
    with pytest.raises(ValueError, match="unknown field `name`"):
        codec.decoder(Strict)(body)


class Ordinary:
    def __repr__(self) -> str:
        return "Ordinary()"  # tests are named by it, in each process that shares them


def endless() -> Any:
    """A type without end: an alias that contains itself, or, where Python has none yet, a very deep one."""
    type: Any = int
    if sys.version_info >= (3, 12):
        scope: dict[str, Any] = {}
        exec("type Endless = list[Endless]", scope)
        type = scope["Endless"]
    else:
        for _ in range(2_000):
            type = list[type]
    return type


class Node(msgspec.Struct):
    next: Node | None
    payload: Ordinary


class Sized(Protocol):
    def size(self) -> int: ...


NEVER: list[tuple[Any, str]] = [
    (Ordinary, r"cannot decode into Ordinary: .*Ordinary is none of dataclass"),
    (list[dict[str, Ordinary]], r"cannot decode into list\[.*Ordinary is none of"),
    (Node, r"cannot decode into .*Node.*: .*Ordinary is none of"),
    (complex, r"cannot decode into complex"),
    (deque, r"collections\.deque is none of"),
    (Sized, r"Sized is none of"),
    (Callable[[], int], r"Callable is none of"),
    (Person | dict[str, int], "not supported"),
    (int | Ordinary, "not supported"),
    ("Person", "not supported"),
    (3, "not supported"),
    (endless(), "the type is nested too deeply"),
]


@every
@pytest.mark.parametrize(("type", "message"), NEVER, ids=[message for _, message in NEVER])
def test_a_type_that_can_never_be_decoded(codec: Plain, type: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        codec.decoder(type)


@every
@pytest.mark.parametrize("value", [Ordinary(), {"a": Ordinary()}, [1, [Ordinary()]], Address], ids=repr)
def test_a_value_that_cannot_be_encoded(codec: Plain, value: Any) -> None:
    with pytest.raises(TypeError, match=r"Encoding objects of type .* is unsupported"):
        codec.encode(value)


@every
@pytest.mark.parametrize("make", [lambda items: items, lambda items: {"a": items}, lambda items: Page([items])])
def test_a_value_that_contains_itself(codec: Plain, make: Callable[[Any], Any]) -> None:
    items: list[Any] = []
    items.append(items)
    with pytest.raises(ValueError, match="nested too deeply"):
        codec.encode(make(items))


@every
def test_text_that_is_not_unicode(codec: Plain) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        codec.encode(["\ud800"])


@every
def test_importing_the_codecs_loads_nothing_heavy(codec: Plain) -> None:
    """Each codec's module is loaded when the codec is asked for, and only that."""
    other = "arpc_codecs.msgpack" if codec.name == "json" else "orjson"
    program = f"""
import sys, arpc_codecs
loaded = {{"orjson", "msgspec", "cbor2", "msgpack", "google.protobuf", "pydantic", "numpy", "arpc"}} & set(sys.modules)
assert not loaded
assert arpc_codecs.{type(codec).__name__}().name == {codec.name!r}
assert {other!r} not in sys.modules
assert not {{"google.protobuf", "pydantic", "numpy"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_the_names_of_the_package() -> None:
    assert set(arpc_codecs.__all__) <= set(dir(arpc_codecs))
    for name in arpc_codecs.__all__:
        cls = getattr(arpc_codecs, name)
        assert issubclass(cls, Codec)
        assert cls.__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'YamlCodec'"):
        arpc_codecs.YamlCodec  # noqa: B018
