"""Handlers and calls with pydantic's types, over each codec with plain values: errors say what is wrong, and where."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, PositiveInt

import arpc
from tests.peer.conftest import Connect

every = pytest.mark.parametrize("codec", ["json", "msgpack", "msgpack-package", "cbor"])


class Person(BaseModel):
    name: str = Field(alias="fullName")
    age: Annotated[int, Field(ge=0)]
    born: datetime | None = None


class Team(BaseModel):
    people: list[Person]


ANN = Person(fullName="Ann", age=36, born=datetime(1990, 1, 2, tzinfo=UTC))


def people() -> arpc.Router:
    router = arpc.Router()

    @router.handle("/birthday")
    async def birthday(person: Person) -> Person:
        return person.model_copy(update={"age": person.age + 1})

    @router.handle("/team")
    async def team(people: list[Person], size: int = 1) -> dict[str, Team]:
        return {"team": Team(people=people * size)}

    @router.handle("/count")
    async def count(to: PositiveInt) -> AsyncIterator[Person]:
        for age in range(to):
            yield Person(fullName="Ann", age=age)

    @router.handle("/wrong")
    async def wrong(person: Person) -> Team:
        return person  # type: ignore[return-value]

    return router


@every
async def test_models_there_and_back(connect: Connect, codec: str) -> None:
    link = await connect(people(), codec=codec)
    older = await link.client.call("/birthday", ANN, returns=Person)
    assert older == ANN.model_copy(update={"age": 37})
    plain = await link.client.call("/birthday", {"fullName": "Bob", "age": 1})
    assert plain == {"fullName": "Bob", "age": 2, "born": None}
    found = await link.client.call("/team", {"people": [ANN], "size": 2}, returns=dict[str, Team])
    assert found == {"team": Team(people=[ANN, ANN])}
    async with link.client.stream("/count", 3, returns=Person) as stream:
        assert [person.age async for person in stream] == [0, 1, 2]


@every
async def test_a_wrong_body_names_the_field_and_shows_nothing(connect: Connect, codec: str) -> None:
    link = await connect(people(), codec=codec)
    with pytest.raises(arpc.RemoteError) as refused:
        await link.client.call("/birthday", {"fullName": "Ann", "age": "hunter2"})
    assert refused.value.code == "invalid_argument"
    assert refused.value.message.startswith("invalid body: expected Person as ")
    assert "$.age: Input should be a valid integer" in refused.value.message
    assert "hunter2" not in refused.value.message
    with pytest.raises(arpc.RemoteError, match=r"\$\.age: .*greater than or equal to 0 - at `\$\.people\[0\]`"):
        await link.client.call("/team", {"people": [{"fullName": "Ann", "age": -1}]})
    assert (await link.client.call("/birthday", ANN, returns=Person)).age == 37


@every
async def test_a_wrong_answer_names_the_field(connect: Connect, codec: str) -> None:
    link = await connect(people(), codec=codec)
    with pytest.raises(arpc.DecodeError, match=r"the answer of /birthday: expected Team .*\$\.people: Field required"):
        await link.client.call("/birthday", ANN, returns=Team)


async def test_a_handler_returns_what_it_says(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    link = await connect(people())
    with pytest.raises(arpc.RemoteError):
        await link.client.call("/wrong", ANN, returns=Team)
    assert "it returned a Person, and its annotation says Team" in caplog.text


async def test_types_that_pydantic_cannot_read(connect: Connect) -> None:
    router = arpc.Router()

    class Ordinary: ...

    async def handler(body: Any) -> None: ...

    handler.__annotations__ = {"body": list[Person | Ordinary], "return": None}
    router.handle("/x")(handler)
    with pytest.raises(arpc.RegistrationError, match="pydantic cannot read"):
        await connect(router)
    link = await connect()
    with pytest.raises(TypeError, match="pydantic cannot read"):
        await link.client.call("/x", returns=list[Person | Ordinary])
