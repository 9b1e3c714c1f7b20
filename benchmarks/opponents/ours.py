"""This library, as its users run it: default options, `async def` handlers, typed bodies."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import sys
from collections.abc import Awaitable, Callable

from benchmarks.closedloop import announce, closed_loop, until_stdin_closes
from benchmarks.opponents.base import Opponent, Unavailable
from benchmarks.workload import ECHO, PERSON, Load, Person, echo_body, older, person_body


class Ours(Opponent):
    """Server and client in Python, on uvloop where it is installed."""

    name = "ours"
    title = "arpc (ours)"

    def prepare(self) -> str:
        spec = importlib.util.find_spec("arpc")
        if spec is None or spec.origin is None:
            raise Unavailable("arpc cannot be imported")
        packages = ("arpc", "uvloop", "msgspec", "orjson")
        return ", ".join(f"{name} {_version(name)}" for name in packages)

    def server_command(self) -> list[str]:
        return [sys.executable, "-m", __name__, "server"]

    def client_command(self) -> list[str]:
        return [sys.executable, "-m", __name__, "client"]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


async def serve() -> None:
    import arpc

    router = arpc.Router()

    @router.handle(ECHO)
    async def echo(body: bytes) -> bytes:
        return body

    @router.handle(PERSON)
    async def person(body: Person) -> Person:
        body.age += 1
        return body

    async with arpc.serve("tcp://127.0.0.1:0", router) as server:
        announce(server.address)
        await until_stdin_closes()


async def drive(address: str, load: Load) -> None:
    import arpc

    peers = [await arpc.connect(address) for _ in range(load.connections)]

    def bytes_caller(number: int) -> tuple[Callable[[], Awaitable[object]], object]:
        call, body = peers[number % load.connections].call, echo_body(number)
        return lambda: call(ECHO, body, returns=bytes), body

    def json_caller(number: int) -> tuple[Callable[[], Awaitable[object]], object]:
        call, body = peers[number % load.connections].call, person_body(number)
        return lambda: call(PERSON, body, returns=Person), older(body)

    caller = {"bytes": bytes_caller, "json": json_caller}[load.case]
    result = await closed_loop([caller(number) for number in range(load.callers)], load)
    await asyncio.gather(*(peer.close() for peer in peers))
    print(result.to_json())


if __name__ == "__main__":
    import arpc

    arpc.run(serve() if sys.argv[1] == "server" else drive(*Load.parse(sys.argv[2:])))
