"""Cache, on both sides: what is answered again, to whom, for how long, and what is never kept."""

from __future__ import annotations

from typing import Any

import pytest

import arpc
from arpc.middleware import Cache, Encoded, Layer, Next
from tests.middleware.caching import Service, both_sides, incoming, outgoing
from tests.middleware.scripted import Clock
from tests.tools import eventually


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@both_sides
@pytest.mark.parametrize("address", ["mem://0", "tcp://127.0.0.1:0"])
async def test_the_same_is_answered_again_for_its_time(service: Service, clock: Clock, side: Any, address: str) -> None:
    cache = Cache(60, methods=["/g*"], clock=clock)
    async with side(service, cache, address=address) as peer:
        metadata: dict[str, Any] = {}
        for _ in range(3):
            assert await peer.call("/get", {"id": 1}, returns=int, answer_metadata=metadata) == 1
            assert metadata == {"number": 1}
        assert await peer.call("/get", {"id": 2}, returns=int) == 2
        assert await peer.call("/put", {"id": 1}, returns=int) == 3
        assert await peer.call("/put", {"id": 1}, returns=int) == 4
        stats = cache.stats
        assert (stats.hits, stats.misses, stats.shared, stats.entries) == (2, 2, 0, 2)
        clock.now += 60
        assert await peer.call("/get", {"id": 1}, returns=int) == 5
        assert (stats.misses, stats.entries, stats.evicted) == (3, 2, 0)


@both_sides
async def test_errors_are_not_kept(service: Service, side: Any) -> None:
    service.error = arpc.RpcError("not now", "unavailable")
    async with side(service, Cache(60, methods=["/get"], errors={"not_found": 5})) as peer:
        for _ in range(2):
            with pytest.raises(arpc.RemoteError, match="not now"):
                await peer.call("/get")
        service.error = None
        assert await peer.call("/get", returns=int) == 3


@both_sides
async def test_errors_that_are_named_are_kept_for_their_own_time(service: Service, clock: Clock, side: Any) -> None:
    service.error = arpc.RpcError("no such cat", "not_found", {"name": ["Tom"]})
    raised: list[arpc.RemoteError] = []
    async with side(service, Cache(60, methods=["/get"], errors={"not_found": 5}, clock=clock)) as peer:
        for _ in range(3):
            with pytest.raises(arpc.RemoteError) as caught:
                await peer.call("/get")
            error = caught.value
            assert (error.message, error.code, error.details) == ("no such cat", "not_found", {"name": ["Tom"]})
            error.details["name"].clear()
            raised.append(error)
        assert service.calls == 1
        assert len(set(map(id, raised))) == 3
        clock.now += 5
        service.error = None
        assert await peer.call("/get", returns=int) == 2


async def test_that_there_is_no_such_method_can_be_kept(service: Service) -> None:
    cache = Cache(60, methods=["*"], errors={"unimplemented": 5, "deadline_exceeded": 5})
    async with outgoing(service, cache) as peer:
        for _ in range(2):
            with pytest.raises(arpc.MethodNotFound):
                await peer.call("/nothing")
        assert (cache.stats.hits, cache.stats.misses) == (1, 1)
        service.release.clear()
        with pytest.raises(arpc.CallTimeout):  # which only this caller has met
            await peer.call("/get", timeout=0.02)
        assert cache.stats.entries == 1


class Login(Layer):
    """Who a connection is, by the metadata of its first message."""

    def wrap(self, call_next: Next, target: Any) -> Next:
        async def login(ctx: arpc.Context) -> Any:
            if "name" in ctx.metadata:
                ctx.peer.identity = arpc.Identity(ctx.metadata["name"], frozenset(ctx.metadata.get("roles", ())))
            return await call_next(ctx)

        return login


async def test_what_one_identity_was_answered_is_not_for_another(service: Service) -> None:
    serving = arpc.serve("mem://0", service.router, middleware=[Login(), Cache(60, methods=["/get"])])
    async with serving as server, arpc.connect(server.address) as one, arpc.connect(server.address) as other:
        assert await one.call("/get", returns=int) == 1
        assert await other.call("/get", returns=int) == 1  # both nobody
        assert await one.call("/get", metadata={"name": "Ann"}, returns=int) == 2
        assert await other.call("/get", metadata={"name": "Bob"}, returns=int) == 3
        assert await one.call("/get", returns=int) == 2
        assert await other.call("/get", metadata={"name": "Ann"}, returns=int) == 2
        assert await other.call("/get", metadata={"name": "Ann", "roles": ["admin"]}, returns=int) == 4


async def test_what_one_connection_was_answered_is_not_for_another() -> None:
    """A server that asks its clients: each answers for itself, unless key= says that all are the same."""
    one, other = Service(), Service()
    other.calls = 10
    for key, answers in ((None, [1, 11, 1, 11]), (lambda ctx: None, [2, 2, 2, 2])):
        serving = arpc.serve("mem://0", arpc.Router(), outgoing=[Cache(60, methods=["/get"], key=key)])
        async with serving as server, arpc.connect(server.address, one.router):
            (first,) = server.peers
            async with arpc.connect(server.address, other.router):
                (second,) = server.peers - {first}
                assert [await peer.call("/get", returns=int) for peer in (first, second) * 2] == answers


async def test_a_key_of_ones_own(service: Service) -> None:
    cache = Cache(60, methods=["/get"], key=lambda ctx: ctx.metadata.get("locale"))
    async with incoming(service, cache) as peer:
        for locale, number in (("fr", 1), ("de", 2), ("fr", 1)):
            assert await peer.call("/get", metadata={"locale": locale, "x": number}, returns=int) == number


@both_sides
async def test_a_key_that_has_no_hash(service: Service, side: Any, caplog: pytest.LogCaptureFixture) -> None:
    wrong: Any = lambda ctx: [1]  # noqa: E731
    async with side(service, Cache(60, methods=["/get"], key=wrong)) as peer:
        with pytest.raises((TypeError, arpc.RemoteError)):
            await peer.call("/get")
    assert side is outgoing or "key= of a Cache returns something hashable, not [1]" in caplog.text


async def test_endpoints_with_other_codecs_share_no_answers(service: Service) -> None:
    cache = Cache(60, methods=["/get"])
    for codec, number in (("json", 1), ("msgpack", 2)):
        serving = arpc.serve("mem://0", service.router, middleware=[cache], codec=codec)
        async with serving as server, arpc.connect(server.address, codec=codec) as peer:
            for _ in range(2):
                assert await peer.call("/get", returns=int) == number


async def test_outside_of_it_a_result_is_encoded_once(service: Service) -> None:
    seen: list[Any] = []

    async def look(ctx: arpc.Context, call_next: Next) -> Any:
        ctx.answer_metadata["seen"] = len(seen)
        seen.append(await call_next(ctx))
        return seen[-1]

    async def body(ctx: arpc.Context, call_next: Next) -> Any:
        return Encoded(b'"' + str(await call_next(ctx)).encode() + b'"')

    metadata: dict[str, Any] = {}
    async with incoming(service, look, Cache(60, methods=["/get"]), body) as peer:
        for number in range(2):
            assert await peer.call("/get", returns=bytes, answer_metadata=metadata) == b'"1"'
            assert metadata == {"number": 1, "seen": number}
    assert seen == [Encoded(b'"1"')] * 2


async def test_what_cannot_be_encoded_is_reported_as_ever(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(60, methods=["/wrong"])
    async with incoming(service, cache) as peer:
        for _ in range(2):
            with pytest.raises(arpc.RemoteError, match="the handler's answer could not be encoded"):
                await peer.call("/wrong")
    assert (service.calls, cache.stats.entries) == (2, 0)
    assert "it returned a str, and its annotation says int" in caplog.text


async def test_what_is_no_body_is_reported_as_ever(service: Service) -> None:
    async def wrong(ctx: arpc.Context, call_next: Next) -> Any:
        return 5

    async with outgoing(service, Cache(60, methods=["/get"]), wrong) as peer:
        with pytest.raises(TypeError, match="returns the answer's body, bytes, not 5"):
            await peer.call("/get")


@both_sides
async def test_it_is_bounded_in_number_and_bytes(service: Service, side: Any) -> None:
    cache = Cache(60, methods=["/get", "/big"], max_entries=2, max_bytes=10_000)
    async with side(service, cache) as peer:
        assert [await peer.call("/get", body, returns=int) for body in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 4]
        assert (cache.stats.entries, cache.stats.evicted) == (2, 2)
        await peer.call("/big", 9000, returns=bytes)
        assert (cache.stats.entries, cache.stats.evicted) == (2, 3)
        await peer.call("/big", 9001, returns=bytes)
        assert (cache.stats.entries, cache.stats.evicted) == (1, 5)
        await peer.call("/big", 10_000, returns=bytes)  # more than all of the room
        assert (cache.stats.entries, cache.stats.evicted) == (1, 5)
        assert 9001 < cache.stats.bytes <= 10_000


@both_sides
async def test_metadata_and_details_are_bounded_too(service: Service, side: Any) -> None:
    shared = ["x" * 2000]
    cache = Cache(60, methods=["/get", "/lists"], max_bytes=15_000, errors={"bad": 60})

    @service.router.handle("/lists")
    async def lists(ctx: arpc.Context, count: int) -> None:
        ctx.answer_metadata["lists"] = [[] for _ in range(count)]

    async with side(service, cache) as peer:
        await peer.call("/lists", 100)
        assert (cache.stats.entries, cache.stats.bytes > 5600) == (1, True)
        await peer.call("/lists", 300)  # more than all of the room
        assert cache.stats.entries == 1
        for details, entries in ({"a": shared, "b": (shared, 1)}, 2), (["x" * 15_000], 2):
            service.error = arpc.RpcError("no", "bad", details)
            with pytest.raises(arpc.RemoteError):
                await peer.call("/get", entries + len(str(details)))
            assert cache.stats.entries == entries


@both_sides
async def test_clearing(service: Service, side: Any) -> None:
    cache = Cache(60, methods=["/*"])
    async with side(service, cache) as peer:
        assert [await peer.call(method, returns=int) for method in ("/get", "/put")] == [1, 2]
        cache.clear("/get")
        assert [await peer.call(method, returns=int) for method in ("/get", "/put")] == [3, 2]
        cache.clear()
        assert (cache.stats.entries, cache.stats.bytes) == (0, 0)
        assert [await peer.call(method, returns=int) for method in ("/get", "/put")] == [4, 5]


@both_sides
async def test_notifies_and_streams_pass(service: Service, side: Any) -> None:
    async with side(service, Cache(60, methods=["*"])) as peer:
        await peer.call("/get")
        for _ in range(2):
            await peer.notify("/get")
        await eventually(lambda: service.calls == 3)
        for number in (4, 5):
            async with peer.open_stream("/get/all", returns=int, sends=int) as items:
                assert await items.recv() == number


async def test_an_answer_without_metadata(service: Service) -> None:
    router = arpc.Router()

    @router.handle("/plain")
    def plain(number: int) -> int:
        service.calls += 1
        return number

    service.router = router
    for side in (outgoing, incoming):
        async with side(service, Cache(60, methods=["/plain"])) as peer:
            assert [await peer.call("/plain", 7, returns=int) for _ in range(2)] == [7, 7]
    assert service.calls == 2


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"ttl": 0}, "ttl is seconds above 0, not 0"),
        ({"max_entries": 0}, "max_entries is a whole number of 1 or more, not 0"),
        ({"max_bytes": 1.5}, "max_bytes is a whole number"),
        ({"errors": {"not_found": 0}}, "errors gives the seconds above 0 that a code is kept, not not_found: 0"),
        ({"key": "x"}, "key is a function of the context, not 'x'"),
        ({"methods": "/get"}, "methods is a list of methods"),
    ],
)
def test_options_that_make_no_sense(options: Any, problem: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        Cache(**{"ttl": 1, "methods": ["/get"], **options})
    assert str(caught.value).startswith(problem)
