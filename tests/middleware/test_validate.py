"""Validate: bodies that are too large, on either side of a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import arpc
from arpc.codecs import JsonCodec
from arpc.middleware import Encoded, Next, Target, Validate
from tests.middleware.holding import ADDRESSES, Holding, linked
from tests.tools import eventually


class Counting(JsonCodec):
    """Counts what it encodes."""

    encoded = 0

    def encode(self, value: Any) -> bytes:
        self.encoded += 1
        return super().encode(value)


def make() -> Holding:
    holding = Holding()

    @holding.router.handle("/repeat")
    async def repeat(size: int) -> bytes:
        return b"x" * size

    @holding.router.handle("/list")
    async def numbers(size: int) -> list[int]:
        return [0] * size

    @holding.router.handle("/unable")
    async def unable() -> Any:
        return object()

    return holding


def refused(code: str = "resource_exhausted") -> Callable[[BaseException], bool]:
    return lambda error: getattr(error, "code", None) == code and getattr(error, "retry_after", 0) is None


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_request_that_is_too_large_is_refused_undecoded(address: str) -> None:
    async with linked(make(), [Validate(5)], address=address) as peer:
        assert await peer.call("/free", "12345", returns=str) == "12345"
        with pytest.raises(
            arpc.RemoteError, match=r"^the request of /list has 6 bytes, over its limit of 5$"
        ) as caught:
            await peer.call("/list", "no int")
        assert refused()(caught.value)
        assert caught.value.details == {"limit": 5, "size": 6}


@pytest.mark.parametrize("address", ADDRESSES)
async def test_an_answer_that_is_too_large_and_is_encoded_once(address: str) -> None:
    codec = Counting()
    holding = make()
    serving = arpc.serve(address, holding.router, codec=codec, middleware=[Validate(max_answer=5)])
    async with serving as server, arpc.connect(server.address) as peer:
        assert await peer.call("/list", 2) == [0, 0]
        assert codec.encoded == 1
        text = "^the answer of /list has 7 bytes, over its limit of 5; the call was executed$"
        with pytest.raises(arpc.RemoteError, match=text) as caught:
            await peer.call("/list", 3)
        assert refused()(caught.value)
        assert caught.value.details == {"limit": 5, "size": 7}
        assert codec.encoded == 2
        assert await peer.call("/repeat", 5, returns=bytes) == b"xxxxx"
        with pytest.raises(arpc.RemoteError, match="has 6 bytes"):
            await peer.call("/repeat", 6)
        with pytest.raises(arpc.RemoteError, match=r"^the handler's answer could not be encoded$"):
            await peer.call("/unable")


async def test_what_is_encoded_already_is_measured_as_it_is() -> None:
    async def double(ctx: arpc.Context, call_next: Next) -> Any:
        return Encoded(b'"' + b"x" * len(await call_next(ctx)) * 2 + b'"')

    async with linked(make(), [Validate(max_answer=6), double]) as peer:
        assert await peer.call("/repeat", 2) == "xxxx"
        with pytest.raises(arpc.RemoteError, match="has 8 bytes"):
            await peer.call("/repeat", 3)


async def test_a_notify_is_counted_when_refused_and_its_result_is_nobodys() -> None:
    codec, holding = Counting(), make()
    holding.release("long")
    serving = arpc.serve("mem://0", holding.router, codec=codec, middleware=[Validate(10, 1)])
    async with serving as server, arpc.connect(server.address) as peer:
        await peer.notify("/list", 100)
        await peer.notify("/hold", "much too long")
        await peer.notify("/hold", "long")
        await holding.until_begun("long")
        (accepted,) = server.peers
        await eventually(lambda: accepted.stats.notifies_dropped == 1)
        assert holding.begun == ["long"]
        assert codec.encoded == 0


async def test_methods_have_limits_of_their_own() -> None:
    limits = Validate(3, 3, methods={"/h*": 10, "/hold": (None, 4), "/other": None, "/repeat": (None, None)})
    holding = make()
    long = "long enough"
    holding.release("1234", "123", "long", long)
    async with linked(holding, [limits]) as peer:
        assert await peer.call("/hold", "1234", returns=str) == "1234"  # a name goes before patterns
        with pytest.raises(arpc.RemoteError, match="the answer of /hold has 11 bytes, over its limit of 4"):
            await peer.call("/hold", long)
        assert await peer.call("/other", long, returns=str) == long
        assert len(await peer.call("/repeat", 1000, returns=bytes)) == 1000
        with pytest.raises(arpc.RemoteError, match="the request of /free has 4 bytes, over its limit of 3"):
            await peer.call("/free", "1234")
        async with peer.stream("/stream", "1234", returns=str) as stream:  # streams have max_item
            assert await stream.recv() == "1234"


def test_methods_without_limit_cost_nothing_and_patterns_come_in_order() -> None:
    limits = Validate(methods={"/a*": 5, "/ab*": None, "/c": (None, 7)})

    async def innermost(ctx: arpc.Context) -> None: ...

    def free(method: str, kind: Any = "message") -> bool:
        return limits.wrap(innermost, Target(method, kind, False, bytes)) is innermost

    assert [free("/abc"), free("/abc", "stream"), free("/c"), free("/d")] == [False, True, False, True]


async def test_around_what_goes_out() -> None:
    limits = Validate(10, 4)
    async with linked(make(), outgoing=[limits]) as peer:
        assert await peer.call("/repeat", 4, returns=bytes) == b"xxxx"
        await peer.notify("/free", "x")
        with pytest.raises(arpc.CallRefused, match="the request of /free has 11 bytes, over its limit of 10") as caught:
            await peer.call("/free", "x" * 11)
        assert refused()(caught.value)
        text = "^the answer of /repeat has 5 bytes, over its limit of 4; the call was executed$"
        with pytest.raises(arpc.LimitExceeded, match=text):
            await peer.call("/repeat", 5)
        assert await peer.ping() < 5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "Validate limits nothing: give max_request=, max_answer= (bytes) or methods={...}"),
        ({"max_request": -1}, "max_request is a whole number, 0 or more, not -1"),
        ({"max_answer": "1"}, "max_answer is a whole number, 0 or more, not '1'"),
        ({"methods": {"/x": 1.5}}, "methods['/x'] is a whole number, 0 or more, not 1.5"),
        ({"methods": {"/x": (1, -1)}}, "methods['/x'] is a whole number, 0 or more, not -1"),
        (
            {"methods": {"/x": (1,)}},
            "methods['/x'] is bytes, (bytes of a request, bytes of an answer), or None, not (1,)",
        ),
    ],
)
def test_options_that_make_no_sense(options: Any, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        Validate(**options)
    assert str(caught.value) == says
