"""pydantic's types with each codec that has plain values: by its rules and aliases, with errors that show no values."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from typing import Annotated, Any, Generic, Literal, NewType, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, PositiveInt, RootModel, SecretStr, field_validator
from pydantic.dataclasses import dataclass as pydantic_dataclass

from arpc.codecs import Codec
from arpc_codecs import CborCodec, JsonCodec, MsgpackCodec, MsgpackPackageCodec

T = TypeVar("T")

Plain = JsonCodec | MsgpackCodec | MsgpackPackageCodec | CborCodec

CODECS: list[Plain] = [JsonCodec(), MsgpackCodec(), MsgpackPackageCodec(), CborCodec()]
every = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


class Colour(Enum):
    RED = "red"


class Address(BaseModel):
    street: str


class Person(BaseModel):
    name: str = Field(alias="fullName")
    age: int
    home: Address | None = None
    friends: list[Person] = []


class Everything(BaseModel):
    at: datetime
    naive: datetime
    day: date
    wait: timedelta
    id: UUID
    price: Decimal
    colour: Colour
    raw: bytes
    tags: set[int]
    pair: tuple[int, str]
    by_day: dict[date, int]
    url: HttpUrl
    ip: IPv4Address


class Page(BaseModel, Generic[T]):
    rows: list[T]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


@pydantic_dataclass
class Point:
    x: Annotated[int, Field(ge=0)]
    y: int = Field(default=0, alias="why")


class Numbers(RootModel[list[int]]):
    pass


class Blob(BaseModel):
    data: bytes


class Blob64(Blob):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class Held64(msgspec.Struct):
    blob: Blob64


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    id: UUID
    at: datetime


class Within(msgspec.Struct):
    strict: Strict


class Held(msgspec.Struct):
    person: Person
    at: datetime
    others: dict[str, list[Address]] = {}


@dataclass
class Kept:
    home: Address | None


class Typed(TypedDict):
    home: Address


ANN = Person(fullName="Ann", age=36, home=Address(street="Main"), friends=[Person(fullName="Bob", age=5)])
NOON = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)
ALL = Everything(
    at=NOON,
    naive=NOON.replace(tzinfo=None),
    day=NOON.date(),
    wait=timedelta(days=1, seconds=90),
    id=UUID(int=7),
    price=Decimal("1.10"),
    colour=Colour.RED,
    raw=b"text",
    tags={1, 2},
    pair=(1, "a"),
    by_day={NOON.date(): 1},
    url=HttpUrl("http://a.example/"),
    ip=IPv4Address("10.0.0.1"),
)
Resident = NewType("Resident", Address)

ROUND_TRIPS: list[tuple[Any, Any]] = [
    (Person, ANN),
    (Everything, ALL),
    (list[Person], [ANN, ANN]),
    (dict[str, Person], {"ann": ANN}),
    (Person | None, ANN),
    (Person | None, None),
    (Person | Address, Address(street="Main")),
    (Annotated[Cat | Dog, Field(discriminator="kind")], Dog(kind="dog")),
    (Page[Address], Page[Address](rows=[Address(street="Main")])),
    (Numbers, Numbers([1, 2])),
    (PositiveInt, 3),
    (Resident, Address(street="Main")),
    (HttpUrl, HttpUrl("http://a.example/")),
    (Point, Point(x=1, why=2)),
    (list[Point], [Point(x=1, why=2)]),
    (Held, Held(ANN, NOON, {"a": [Address(street="Main")]})),
    (list[Held], [Held(ANN, NOON)]),
    (Kept, Kept(Address(street="Main"))),
    (Kept, Kept(None)),
    (Typed, {"home": Address(street="Main")}),
]


@every
@pytest.mark.parametrize(("type", "value"), ROUND_TRIPS, ids=lambda part: str(part)[:40])
def test_round_trip(codec: Plain, type: Any, value: Any) -> None:
    back = codec.decoder(type)(codec.encode(value))
    assert back == value
    assert back.__class__ is value.__class__


@every
def test_models_are_written_by_alias_wherever_they_are(codec: Plain) -> None:
    ann = {"fullName": "Ann", "age": 1, "home": None, "friends": []}
    person = Person(fullName="Ann", age=1)
    assert codec.decode(codec.encode(person)) == ann
    assert codec.decode(codec.encode({"a": [person], "b": Held(person, NOON)}))["a"] == [ann]
    held = codec.decode(codec.encode([{"b": Held(person, NOON)}]))
    assert held[0]["b"]["person"] == ann


@every
def test_secrets_stay_secret(codec: Plain) -> None:
    class Login(BaseModel):
        password: SecretStr

    assert codec.decode(codec.encode(Login(password=SecretStr("x")))) == {"password": "**********"}
    assert codec.decode(codec.encode([SecretStr("x")])) == ["**********"]
    assert codec.decoder(Login)(codec.encode({"password": "x"})).password.get_secret_value() == "x"


def test_bytes_stay_bytes_where_the_format_has_them() -> None:
    blob = Blob(data=b"\x00\xff")
    for codec in CODECS[1:]:
        assert codec.decode(codec.encode(blob)) == {"data": b"\x00\xff"}
        assert codec.decoder(Blob)(codec.encode(blob)) == blob
    with pytest.raises(ValueError, match="invalid utf-8"):  # pydantic's own rule, unless the model says base64
        CODECS[0].encode(blob)

    for json in (Blob64(data=b"\x00\xff"), Held64(Blob64(data=b"\x00\xff"))):
        back: Any = CODECS[0].decoder(type(json))(CODECS[0].encode(json))
        assert back == json


def test_strict_models_read_json_by_its_rules() -> None:
    strict = Strict(id=UUID(int=1), at=NOON)
    json, msgpack, *_ = CODECS
    assert json.decoder(Strict)(json.encode(strict)) == strict
    assert json.decoder(Within)(json.encode(Within(strict))) == Within(strict)
    with pytest.raises(ValueError, match=r"\$\.id: Input should be an instance of UUID"):
        msgpack.decoder(Strict)(msgpack.encode(strict))


WRONG: list[tuple[Any, Any, str]] = [
    (Person, {"fullName": "Ann", "age": "secret"}, r"^\$\.age: Input should be a valid integer, unable to parse"),
    (Person, {"age": 1}, r"^\$\.fullName: Field required$"),
    (Person, {"fullName": "A", "age": 1, "friends": [{"age": 1}]}, r"^\$\.friends\[0\]\.fullName: Field required$"),
    (Person, "secret", r"^\$: Input should be (an object|a valid dictionary or instance of Person)$"),
    (list[Person], [5], r"^\$\[0\]: Input should be"),
    (PositiveInt, -5, r"^\$: Input should be greater than 0$"),
    (Annotated[Cat | Dog, Field(discriminator="kind")], {"kind": "secret"}, r"one of the tags 'cat', 'dog' in 'kind'$"),
    (Point, {"x": -1}, r"^\$\.x: Input should be greater than or equal to 0$"),
    (Held, {"person": {"fullName": "A", "age": "secret"}, "at": NOON}, r"\$\.age: Input .* - at `\$\.person`$"),
    (Everything, {}, r"^\$\.at: .*; \$\.naive: .*; \$\.day: Field required; and 10 more$"),
]


@every
@pytest.mark.parametrize(("type", "value", "message"), WRONG, ids=lambda part: str(part)[:40])
def test_what_is_wrong_is_told_and_not_what_came(codec: Plain, type: Any, value: Any, message: str) -> None:
    decode = codec.decoder(type)
    with pytest.raises(ValueError, match=message) as caught:
        decode(codec.encode(value))
    text = str(caught.value)
    assert "secret" not in text
    assert "\n" not in text
    assert "http" not in text
    assert "secret" not in str(caught.value.__cause__)


def test_a_validators_own_text_is_one_line() -> None:
    class Even(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def even(cls, number: int) -> int:
            raise ValueError("must\nbe even")

    with pytest.raises(ValueError, match=r"^\$\.number: Value error, must be even$"):
        CODECS[0].decoder(Even)(b'{"number":3}')


def test_broken_bodies() -> None:
    for body in (b"", b"{", b'{"street":"\xff"}', b"{} x", b"[" * 100_000):
        with pytest.raises(ValueError):
            CODECS[0].decoder(Address)(body)
    for codec in CODECS[1:]:
        with pytest.raises(ValueError):
            codec.decoder(Address)(b"\xc1")


class Deep(BaseModel):
    down: Deep | None = None


@every
def test_too_deep(codec: Plain) -> None:
    value: Any = {}
    for _ in range(380):
        value = {"down": value}
    with pytest.raises(ValueError, match=r"Recursion|recursion|nested too deeply") as caught:
        codec.decoder(Deep)(codec.encode(value))
    assert len(str(caught.value)) < 300


class Ordinary: ...


NEVER: list[tuple[Any, str]] = [
    (list[Address | Ordinary], "pydantic cannot read .*: Unable to generate"),
    (tuple[Address, Held], "pydantic cannot read .*: Unable to generate"),
    (msgspec.defstruct("S", [("point", Point)]), "cannot decode into S: .*Point is a dataclass of pydantic's"),
    (msgspec.defstruct("U", [("either", Address | int)]), "not supported"),
]


@every
@pytest.mark.parametrize(("type", "message"), NEVER, ids=[message for _, message in NEVER])
def test_a_type_that_can_never_be_decoded(codec: Plain, type: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        codec.decoder(type)


@every
def test_what_pydantic_does_not_know_either(codec: Plain) -> None:
    with pytest.raises(TypeError, match="Encoding objects of type Ordinary is unsupported"):
        codec.encode({"a": Ordinary()})
    with pytest.raises(TypeError, match="Encoding objects of type Ordinary is unsupported"):
        codec.encode(Held(ANN, Ordinary()))  # type: ignore[arg-type]


def test_a_codec_of_ones_own_reads_models() -> None:
    class Own(Codec):
        def encode(self, value: Any) -> bytes:
            return msgspec.json.encode(value)

        def decode(self, data: bytes) -> Any:
            return msgspec.json.decode(data)

    assert Own().decoder(list[Address])(b'[{"street":"Main"}]') == [Address(street="Main")]
    assert Own().decoder(Kept)(b'{"home":{"street":"Main"}}') == Kept(Address(street="Main"))


NOT_IMPORTED = """
import sys
from dataclasses import dataclass
from arpc_codecs import CborCodec, JsonCodec, MsgpackCodec, MsgpackPackageCodec

@dataclass
class Row:
    id: int

for codec in (JsonCodec(), MsgpackCodec(), MsgpackPackageCodec(), CborCodec()):
    assert codec.decoder(list[Row])(codec.encode([Row(1)])) == [Row(1)]
    try:
        codec.encode(object())
    except TypeError:
        pass
assert not any(name.partition(".")[0].startswith("pydantic") for name in sys.modules)
"""


def test_who_does_not_import_pydantic_does_not_pay() -> None:
    subprocess.run([sys.executable, "-c", NOT_IMPORTED], check=True, timeout=30)


@pytest.mark.parametrize("make", [lambda: Person, lambda: list[Person]], ids=["class", "list"])
def test_types_are_compiled_when_they_are_named(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    decode = CODECS[0].decoder(make())
    monkeypatch.setattr(pydantic, "TypeAdapter", None)
    with pytest.raises(ValueError, match=r"Field required|valid array"):
        decode(b"{}")
