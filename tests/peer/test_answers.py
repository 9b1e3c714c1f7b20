"""What a call returns or raises: answers of every kind, and errors of the other side."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, Optional

import pytest

import arpc
from tests.peer.conftest import Connect
from tests.peer.echoing import Log, Person, echoing
from tests.tools import eventually

# What comes back.

ANSWERS: list[tuple[Any, Any, Any]] = [
    (b"\x00\xff", bytes, b"\x00\xff"),
    ("grüße", str, "grüße"),
    ("", str, ""),
    (None, None, None),
    (None, type(None), None),
    (None, bytes, b""),
    (None, str, ""),
    (5, int, 5),
    (5, float, 5.0),
    (5, int | None, 5),
    (None, int | None, None),
    (None, Optional[Person], None),  # noqa: UP045
    ({"name": "Ann", "age": 3}, Person, Person("Ann", 3)),
    (Person("Ann", 3), Person | None, Person("Ann", 3)),
    (Person("Ann", 3), Person | int, Person("Ann", 3)),
    (7, Person | int, 7),
    ([1, 2], list[int], [1, 2]),
    ({"a": [None]}, dict[str, list[int | None]], {"a": [None]}),
    ([Person("Ann", 3)], list[Person], [Person("Ann", 3)]),
    ("red", Literal["red"] | None, "red"),
    (Person("Ann", 3), Any, {"name": "Ann", "age": 3}),
    (None, Any, None),
    ("text", str | None, "text"),
    (None, str | None, None),
    (b"raw", bytes | None, b"raw"),
    (None, bytes | None, None),
]


async def test_returns_in_every_kind(connect: Connect) -> None:
    router = arpc.Router()

    @router.handle("/answer")
    async def answer(index: int) -> Any:
        value = ANSWERS[index][0]
        return f'"{value}"' if value == "red" else value  # a str travels as it is: here it is JSON

    link = await connect(router)
    for index, (_, returns, expected) in enumerate(ANSWERS):
        found = await link.client.call("/answer", index, returns=returns)
        assert found == expected, returns
        assert type(found) is type(expected), returns


async def test_without_returns_an_answer_is_the_plain_value_strictly(connect: Connect) -> None:
    link = await connect(echoing())
    assert await link.client.call("/echo", {"a": [1, None, 2.5]}) == {"a": [1, None, 2.5]}
    assert await link.client.call("/echo") is None
    assert await link.client.call("/echo", b'"quoted"') == "quoted"
    for wrong in (b"plain text", b"{", b"1 2", b"\xff", b"NaN"):
        with pytest.raises(arpc.DecodeError, match="the answer of /echo"):
            await link.client.call("/echo", wrong)


@pytest.mark.parametrize(
    ("body", "returns", "says"),
    [
        (b'{"name": "Ann", "age": "old"}', Person, "age"),
        (b'{"age": 3}', Person, "name"),
        (b'[{"name": 5}]', list[Person], r"\[0\].name"),
        (b"5", Person, "Person"),
        (b'"x"', int | None, "int"),
        (b"", Person, "expected Person, got an empty body"),
        (b"", int, "expected int, got an empty body"),
        (b"x", None, "expected an empty body, got 1 bytes"),
        (b"\xff", str, "UTF-8"),
        (b"[" * 100_000, Any, "deep"),
    ],
)
async def test_an_answer_of_the_wrong_type_names_method_and_field(
    connect: Connect, body: bytes, returns: Any, says: str
) -> None:
    link = await connect(echoing())
    with pytest.raises(arpc.DecodeError, match=rf"(?s)the answer of /echo: .*{says}"):
        await link.client.call("/echo", body, returns=returns)
    assert await link.client.call("/echo", b"1", returns=int) == 1


async def test_a_type_that_can_never_come_is_refused_before_anything_is_sent(connect: Connect) -> None:
    router = arpc.Router()
    seen: list[bytes] = []

    @router.handle("/note")
    def note(body: bytes) -> None:
        seen.append(body)

    link = await connect(router)
    for returns in (asyncio.Task, {"not": "a type"}):
        with pytest.raises(TypeError):
            await link.client.call("/note", returns=returns)
    await link.client.ping()
    assert seen == []


# Errors of the other side.


async def test_a_handler_that_returns_what_cannot_be_encoded(connect: Connect, logged: Log) -> None:
    router = echoing()

    @router.handle("/wrong")
    async def wrong() -> Any:
        return {"key": object()}

    link = await connect(router)
    with pytest.raises(arpc.RemoteError, match=r"^the handler's answer could not be encoded$"):
        await link.client.call("/wrong")
    assert "/wrong" in logged()
    assert "json cannot encode a dict" in logged()
    assert await link.client.call("/echo", b"1", returns=bytes) == b"1"


async def test_a_handler_that_returns_another_type_than_it_says(connect: Connect, logged: Log) -> None:
    router = echoing()

    @router.handle("/wrong")
    async def wrong() -> Person:
        answer: Any = [1]
        return answer  # type: ignore[no-any-return]

    link = await connect(router)
    with pytest.raises(arpc.RemoteError, match="could not be encoded"):
        await link.client.call("/wrong")
    assert "it returned a list, and its annotation says Person" in logged()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"name": "Ann", "age": "old"}, r"Expected `int`, got `str` - at `\$.age`"),
        ({"age": 3}, "missing required field `name`"),
        (b"{", "json"),
        (None, "expected Person, got an empty body"),
        ([], "Expected `object`, got `array`"),
    ],
)
async def test_a_wrong_body_names_the_field(connect: Connect, logged: Log, body: Any, says: str) -> None:
    router = arpc.Router()

    @router.handle("/greet")
    async def greet(person: Person) -> str:
        return person.name

    link = await connect(router)
    with pytest.raises(arpc.RemoteError, match=rf"^invalid body: .*{says}"):
        await link.client.call("/greet", body)
    assert logged() == "", "a mistake of the caller is none of ours"
    assert await link.client.call("/greet", Person("Ann"), returns=str) == "Ann"


@pytest.mark.parametrize("suspends", [False, True])
async def test_what_a_handler_raises_stays_here(connect: Connect, logged: Log, suspends: bool) -> None:
    router = echoing()

    @router.handle("/wrong")
    async def wrong() -> None:
        if suspends:
            await asyncio.sleep(0)
        password = "secret"
        raise ValueError(f"could not log in with {password}")

    link = await connect(router)
    with pytest.raises(arpc.RemoteError) as caught:
        await link.client.call("/wrong")
    assert caught.value.message == str(caught.value) == "internal error"
    assert (caught.value.code, caught.value.details) == (arpc.Code.INTERNAL, None)
    text = logged()
    assert "handler /wrong failed" in text
    assert "Traceback" in text
    assert "ValueError: could not log in with secret" in text
    assert await link.client.call("/echo", b"1", returns=bytes) == b"1"


async def test_a_notify_that_fails_is_logged_and_answers_nothing(connect: Connect, logged: Log) -> None:
    router = echoing()

    @router.handle("/wrong")
    async def wrong() -> None:
        raise ValueError("nobody hears this")

    link = await connect(router)
    await link.client.notify("/wrong")
    await eventually(lambda: "nobody hears this" in logged())
    await link.client.ping()
    assert link.client.stats.frames_dropped == 0


@pytest.mark.parametrize("suspends", [False, True])
async def test_an_rpc_error_arrives_with_its_text(connect: Connect, logged: Log, suspends: bool) -> None:
    router = arpc.Router()

    @router.handle("/refuse")
    async def refuse(why: str) -> None:
        if suspends:
            await asyncio.sleep(0)
        raise arpc.RpcError(why, code="denied", details={"a": 1})

    link = await connect(router)
    for why in ("no such user: Zoë", "", "x" * 10_000):
        with pytest.raises(arpc.RemoteError) as caught:
            await link.client.call("/refuse", why)
        assert caught.value.message == why
        assert (caught.value.code, caught.value.details) == ("denied", {"a": 1})
        assert not isinstance(caught.value, arpc.MethodNotFound)
    assert logged() == ""


async def test_an_error_of_another_call_is_an_internal_one_here(connect: Connect, logged: Log) -> None:
    """A RemoteError, CallTimeout... that a handler lets through says nothing about itself to its own caller."""
    router, calling = arpc.Router(), arpc.Router()

    @router.handle("/relay")
    async def relay(ctx: arpc.Context) -> None:
        await ctx.peer.call("/back")

    @calling.handle("/back")
    def back() -> None:
        raise arpc.RpcError("the inner text")

    link = await connect(router, calling)
    with pytest.raises(arpc.RemoteError, match=r"^internal error$"):
        await link.client.call("/relay")
    assert "the inner text" in logged()


async def test_an_encode_error_inside_a_handler_is_not_its_answers(connect: Connect, logged: Log) -> None:
    router = arpc.Router()

    @router.handle("/relay")
    async def relay(ctx: arpc.Context) -> None:
        await ctx.peer.call("/back", object())

    link = await connect(router)
    with pytest.raises(arpc.RemoteError, match=r"^internal error$"):
        await link.client.call("/relay")
    assert "Traceback" in logged()


async def test_not_found(connect: Connect, logged: Log) -> None:
    link = await connect(echoing())
    for peer in link.both:
        with pytest.raises(arpc.MethodNotFound, match=r"^method not found$") as caught:
            await peer.call("/nothing", b"body")
        assert caught.value.code == "unimplemented"
    await link.client.notify("/nothing")
    await link.client.ping()
    assert link.peer.stats.frames_dropped == 1
    assert logged() == ""
