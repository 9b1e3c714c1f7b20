"""Codes and details of errors, where both sides know metadata and where they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

import arpc
from tests.peer.conftest import Connect, Link
from tests.peer.raw import RESPONSE, frame
from tests.peer.target import under_attack

pytestmark = pytest.mark.timeout(20)


def raising() -> tuple[arpc.Router, list[BaseException]]:
    """Handlers that raise the error in the list."""
    router, errors = arpc.Router(), list[BaseException]()

    @router.handle("/sync")
    def sync() -> None:
        raise errors[0]

    @router.handle("/async")
    async def asynchronous() -> None:
        raise errors[0]

    @router.handle("/thread", threaded=True)
    def thread() -> None:
        raise errors[0]

    @router.stream("/stream")
    async def stream(stream: arpc.Stream[bytes, bytes]) -> None:
        raise errors[0]

    return router, errors


async def error_of(link: Link, method: str, **options: Any) -> arpc.RemoteError:
    with pytest.raises(arpc.RemoteError) as caught:
        await link.client.call(method, **options)
    return caught.value


@pytest.mark.parametrize("details", [None, 0, "", "text", b"\xff", [1, {"a": None}], {"retry": 2.5}], ids=repr)
async def test_code_and_details_arrive(connect: Connect, details: Any) -> None:
    router, errors = raising()
    link = await connect(router)
    for code in (arpc.Code.NOT_FOUND, "of my own", None):
        errors[:] = [arpc.RpcError("no such thing", code, details)]
        for method in ("/sync", "/async", "/thread"):
            for options in ({}, {"timeout": 5}, {"metadata": {"a": 1}}):
                error = await error_of(link, method, **options)
                assert (str(error), error.message, error.code, error.details) == (
                    "no such thing",
                    "no such thing",
                    code,
                    details,
                )
        async with link.client.open_stream("/stream", returns=bytes) as stream:
            with pytest.raises(arpc.StreamReset, match="no such thing"):
                await stream.recv()


async def test_what_arpc_answers_by_itself_has_a_code(connect: Connect, logged: Callable[[], str]) -> None:
    router, errors = raising()

    @router.handle("/typed")
    def typed(body: int) -> int:
        return body

    @router.handle("/wrong")
    def wrong() -> int:
        return cast(int, "text")

    @router.handle("/large")
    def large() -> bytes:
        return bytes(5000)

    link = await connect(router, client_options={"max_body": 4000})
    errors.append(ValueError("secret"))
    assert (await error_of(link, "/sync")).code == arpc.Code.INTERNAL
    assert "secret" in logged()
    error = await error_of(link, "/nothing")
    assert isinstance(error, arpc.MethodNotFound)
    assert error.code == arpc.Code.UNIMPLEMENTED
    assert (await error_of(link, "/typed", body="text")).code == arpc.Code.INVALID_ARGUMENT
    assert (await error_of(link, "/wrong")).code == arpc.Code.INTERNAL
    assert (await error_of(link, "/large")).code == arpc.Code.RESOURCE_EXHAUSTED


async def test_details_that_do_not_fit_are_left_out(connect: Connect, logged: Callable[[], str]) -> None:
    router, errors = raising()
    link = await connect(router, client_options={"max_body": 2000})
    for details in (bytes(70_000), bytes(1990), object()):
        errors[:] = [arpc.RpcError("text", "code", details)]
        error = await error_of(link, "/sync")
        assert (error.message, error.code, error.details) == ("text", "code", None)
    errors[:] = [arpc.RpcError("x" * 5000, "code", "details")]
    error = await error_of(link, "/sync")
    assert error.code == "code"
    assert 1900 < len(error.message) < 2000
    assert "cannot travel" in logged()


@pytest.mark.parametrize("code", ["c" * 100_000, "\ud800"], ids=["too large", "no text"])
async def test_a_code_that_cannot_travel_is_left_out(connect: Connect, logged: Callable[[], str], code: str) -> None:
    router, errors = raising()
    link = await connect(router)
    for details in (None, {"a": 1}):
        errors[:] = [arpc.RpcError("text", code, details)]
        for method in ("/sync", "/async", "/thread"):
            error = await error_of(link, method)
            assert (error.message, error.code, error.details) == ("text", None, details)
    assert "the code of an error cannot travel: metadata " in logged()


@pytest.mark.parametrize("details", [None, {"a": 1}])
async def test_an_error_may_be_handed_on(connect: Connect, details: Any) -> None:
    """What a nested call raised goes to the caller as it came."""
    inner, errors = raising()
    errors.append(arpc.RpcError("from within", arpc.Code.ABORTED, details))
    outer = arpc.Router()

    @outer.handle("/nest")
    async def nest(ctx: arpc.Context) -> None:
        try:
            await ctx.peer.call("/async")
        except arpc.RemoteError as error:
            raise arpc.RpcError(error, error.code, error.details) from error

    link = await connect(outer, inner)
    error = await error_of(link, "/nest")
    assert (error.message, error.code, error.details) == ("from within", "aborted", details)


@pytest.mark.parametrize("options", [{"extensions": False}, {"capabilities": arpc.Capability.CANCEL}], ids=str)
async def test_without_metadata_only_the_text_arrives(connect: Connect, options: Any) -> None:
    router, errors = raising()
    errors.append(arpc.RpcError("text", "code", {"a": 1}))
    link = await connect(router, client_options=options)
    error = await error_of(link, "/sync")
    assert (error.message, error.code, error.details) == ("text", None, None)
    assert (await error_of(link, "/nothing")).code == arpc.Code.UNIMPLEMENTED


def with_meta(seq: int, data: bytes, value: bytes) -> bytes:
    trailer = b"meta" + value + (len(value) + 6).to_bytes(2, "big")
    return frame(RESPONSE, seq, b"/ask", data + trailer, flag=1, reserved=2)


async def test_errors_written_by_hand() -> None:
    async with under_attack() as target:
        raw = await target.connect()
        capabilities = (31).to_bytes(4, "little") + (1 << 20).to_bytes(4, "little") * 3
        await raw.send(frame(4, data=b"arpc+\x01" + capabilities))
        await raw.receive_frame()
        cases: list[tuple[bytes, str | None, Any]] = [
            (b"\x80", None, None),
            (b"\x81\xa4code\xa1x", "x", None),
            (b"\x81\xa7details\x05", None, 5),
            (b"\x82\xa4code\xc0\xa7details\xc0", None, None),
            (b"\x82\xa4code\xa0\xa1a\x01", "", None),
        ]
        for value, code, details in cases:
            call, asked = await target.call(raw)
            await raw.send(with_meta(asked.seq, b"text", value))
            with pytest.raises(arpc.RemoteError, match=r"^text$") as caught:
                await call
            assert caught.value.code in {code, code or None}
            assert caught.value.details == details
        call, asked = await target.call(raw)
        await raw.send(with_meta(asked.seq, b"the deadline is over", b"\x81\xa4code\xb1deadline_exceeded"))
        with pytest.raises(arpc.CallTimeout):
            await call
        call, asked = await target.call(raw)
        await raw.send(frame(RESPONSE, asked.seq, b"/ask", b"the deadline is over", flag=1))
        with pytest.raises(arpc.RemoteError, match="the deadline is over"):
            await call
        call, asked = await target.call(raw)
        await raw.send(with_meta(asked.seq, b"text", b"\x81\xa4code\x05"))
        with pytest.raises(arpc.ConnectionClosed, match="code of an error"):
            await call
