"""What a function may look like to be a handler, and what its parameters get."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any

import msgspec
import pytest

from arpc import Context, RegistrationError, RpcError
from arpc.codecs import ProtobufCodec
from arpc.handler import Handler
from tests.unit.handling import Counter, LaterCounter, answer


@dataclass
class Person:
    name: str
    age: int


# --- one body parameter


async def test_the_body_by_its_type() -> None:
    def person(person: Person) -> Person:
        return Person(person.name, person.age + 1)

    def raw(body: bytes) -> bytes:
        return body[::-1]

    def text(body: str) -> str:
        return body.upper()

    def plain(body: Any) -> Any:
        return [body]

    def optional(body: Person | None) -> bool:
        return body is None

    assert await answer(person, b'{"name":"Ann","age":41}') == b'{"name":"Ann","age":42}'
    assert await answer(raw, b"\xff\0") == b"\0\xff"
    assert await answer(raw) == b""
    assert await answer(text, "é".encode()) == "É".encode()
    assert await answer(plain, b'{"a":1}') == b'[{"a":1}]'
    assert await answer(plain) == b"[null]"
    assert await answer(optional) == b"true"


async def test_the_context_before_or_after_the_body_or_alone() -> None:
    def first(ctx: Context, body: int) -> str:
        return f"{ctx.method} {ctx.kind} {body}"

    async def last(body: bytes, ctx: Context) -> str:
        return f"{ctx.method} {body.decode()}"

    async def alone(ctx: Context) -> str:
        return ctx.method

    def by_name(body: int, *, ctx: Context) -> str:
        return f"{ctx.method} {body}"

    def body_by_name(ctx: Context, *, body: int) -> str:
        return f"{ctx.method} {body}"

    assert await answer(first, b"1") == b"/test call 1"
    assert await answer(last, b"1") == b"/test 1"
    assert await answer(alone) == b"/test"
    assert await answer(by_name, b"1") == b"/test 1"
    assert await answer(body_by_name, b"1") == b"/test 1"


async def test_a_default_stands_for_an_empty_body() -> None:
    def number(number: int = 7) -> int:
        return number

    def raw(body: bytes = b"default") -> bytes:
        return body

    def by_name(*, number: int = 7) -> int:
        return number

    def with_context(ctx: Context, number: int = 7) -> int:
        return number

    for function in (number, by_name, with_context):
        assert await answer(function) == b"7"
        assert await answer(function, b"8") == b"8"
    assert await answer(raw) == b"default"
    assert await answer(raw, b"x") == b"x"


async def test_a_body_that_may_go_by_position_only() -> None:
    def number(number: int, /) -> int:
        return number

    def with_context(ctx: Context, number: int, /) -> int:
        return number

    assert await answer(number, b"1") == b"1"
    assert await answer(with_context, b"1") == b"1"


# --- none, and several


async def test_no_body_parameter_wants_an_empty_body() -> None:
    def nothing() -> str:
        return "ok"

    async def context(ctx: Context) -> str:
        return "ok"

    for function in (nothing, context):
        assert await answer(function) == b"ok"
        with pytest.raises(RpcError, match=r"^invalid body: expected an empty body, got 2 bytes$") as caught:
            await answer(function, b"{}")
        assert caught.value.code == "invalid_argument"


async def test_several_are_the_fields_of_one_object() -> None:
    async def add(a: int, ctx: Context, b: Person, *, c: list[str]) -> list[Any]:
        return [a, b, c, ctx.method]

    assert await answer(add, b'{"c":["x"],"b":{"name":"Ann","age":1},"a":1,"more":0}') == (
        b'[1,{"name":"Ann","age":1},["x"],"/test"]'
    )
    with pytest.raises(RpcError, match=r"^invalid body: .*missing required field `b`"):
        await answer(add, b'{"a":1,"c":[]}')
    with pytest.raises(RpcError, match=r"^invalid body: .*\$\.a"):
        await answer(add, b'{"a":"1","b":{"name":"Ann","age":1},"c":[]}')
    with pytest.raises(RpcError, match=r"^invalid body: expected an object with a, b, c, got an empty body$"):
        await answer(add)


async def test_several_with_defaults() -> None:
    default: list[int] = []

    def some(a: int, b: int = 2, c: list[int] = default) -> list[Any]:
        return [a, b, c]

    def every(a: int = 1, b: int = 2) -> int:
        return a + b

    assert await answer(some, b'{"a":1}') == b"[1,2,[]]"
    assert await answer(some, b'{"a":1,"c":[3]}') == b"[1,2,[3]]"
    with pytest.raises(RpcError, match="invalid body"):
        await answer(some)
    assert await answer(every) == b"3"
    assert await answer(every, b"{}") == b"3"
    assert await answer(every, b'{"b":5}') == b"6"


@pytest.mark.parametrize("body", [b'{"name":"Ann"}', b'{"name":1,"age":1}', b"{", b"", b"\xff", b"null"])
async def test_a_wrong_body_is_the_callers_error(body: bytes) -> None:
    def alone(person: Person) -> None: ...

    def before(person: Person, ctx: Context) -> None: ...

    def by_name(*, person: Person) -> None: ...

    for function in (alone, before, by_name):
        with pytest.raises(RpcError, match=r"^invalid body: expected Person") as caught:
            await answer(function, body)
        assert caught.value.code == "invalid_argument"
        assert caught.value.__cause__ is None


async def test_constraints_of_an_annotation_are_checked() -> None:
    def number(number: Annotated[int, msgspec.Meta(ge=10)]) -> int:
        return number

    def numbers(a: Annotated[int, msgspec.Meta(ge=10)], b: int) -> int:
        return a + b

    assert await answer(number, b"10") == b"10"
    with pytest.raises(RpcError, match="invalid body"):
        await answer(number, b"9")
    with pytest.raises(RpcError, match=r"invalid body: .*\$\.a"):
        await answer(numbers, b'{"a":9,"b":1}')


# --- what can be called


@pytest.mark.parametrize(
    ("function", "body", "expected"),
    [
        (Counter(), b"1", b"2"),
        (LaterCounter(), b"1", b"2"),
        (Counter(5).later, b"1", b"6"),
        (Counter.twice, b"4", b"8"),
        (Counter().twice, b"4", b"8"),
        (Counter.named, b"!", b"Counter!"),
        (partial(Counter(5).later), b"1", b"6"),
        (partial(Counter(5)), b"1", b"6"),
        (partial(Counter.twice, 9), b"", b"18"),
        (partial(partial(Counter.named)), b"?", b"Counter?"),
    ],
)
async def test_functions_methods_objects_and_partials(function: Any, body: bytes, expected: bytes) -> None:
    assert await answer(function, body) == expected


async def test_what_a_partial_has_bound_is_no_business_of_callers() -> None:
    def get(user: str, admin: bool) -> str:
        return f"{user} {admin}"

    assert await answer(partial(get, admin=False), b"Ann") == b"Ann False"
    assert await answer(partial(partial(get, admin=True), admin=False), b'{"user":"Ann","admin":true}') == (
        b'{"user":"Ann","admin":true} False'
    )


async def test_annotations_may_be_types_as_well_as_text() -> None:
    """This module's are text, as ``from __future__ import annotations`` makes them."""

    def add(a: int, b: Person) -> str:
        return f"{a} {b.name}"

    assert add.__annotations__ == {"a": "int", "b": "Person", "return": "str"}
    assert await answer(add, b'{"a":1,"b":{"name":"Ann","age":2}}') == b"1 Ann"
    add.__annotations__ = {"a": int, "b": Person, "return": str}
    assert await answer(add, b'{"a":1,"b":{"name":"Ann","age":2}}') == b"1 Ann"


async def test_annotations_may_name_what_is_local_where_it_is_registered() -> None:
    @dataclass
    class Local:
        number: int

    def take(body: Local) -> Local:
        return body

    assert await answer(take, b'{"number":1}') == b'{"number":1}'
    with pytest.raises(RegistrationError, match="name 'Local' is not defined"):
        Handler("/it", take)


async def test_a_decorated_function_is_read_through_its_decorator() -> None:
    def original(body: int) -> int:
        return body

    @wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs) + 1

    assert await answer(wrapper, b"1") == b"2"


async def test_several_parameters_need_a_codec_that_has_objects() -> None:
    def add(a: int, b: int) -> int:
        return a + b

    with pytest.raises(RegistrationError, match="several parameters are the fields of one object; take one parameter"):
        await answer(add, b"", codec=ProtobufCodec())
