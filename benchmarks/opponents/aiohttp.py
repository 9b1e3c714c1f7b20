"""aiohttp: HTTP/1.1, server and client, one POST a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from benchmarks.loads.calls import Calls
from benchmarks.opponents.python import PythonOpponent
from benchmarks.workload import ECHO, PERSON, Person, Setup, older

LARGEST = 64 << 20
TIMEOUT = 30.0
POOL = 10


class Aiohttp(PythonOpponent):
    """`web.Application` without access log and `ClientSession`; JSON by msgspec, as ours has it.

    A connection of HTTP/1.1 has one request under way. So a connection of the load is a session here, with a pool of at
    most 10: the usual 10 sessions have 100 in all, the default of aiohttp. A connection for each of 1000 callers takes
    more CPU, not less.

    The pool is bounded by a semaphore in front of it, as users bound their requests: aiohttp's own limit lets a caller
    that has just got its answer pass those that wait, who then wait as long as it goes on.
    """

    name = "aiohttp"
    title = "aiohttp"
    bodies = frozenset({"bytes", "json"})
    packages = ("aiohttp", "msgspec", "uvloop")

    @asynccontextmanager
    async def serve(self, setup: Setup) -> AsyncIterator[str]:
        from aiohttp import web

        decode, encode = msgspec.json.Decoder(Person).decode, msgspec.json.Encoder().encode

        async def echo(request: web.Request) -> web.Response:
            body = await request.read()
            return web.Response(body=body)

        async def person(request: web.Request) -> web.Response:
            body = decode(await request.read())
            return web.Response(body=encode(older(body)), content_type="application/json")

        application = web.Application(client_max_size=LARGEST)
        application.add_routes([web.post(ECHO, echo), web.post(PERSON, person)])
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
        await runner.cleanup()

    @asynccontextmanager
    async def connect(self, address: str, setup: Setup) -> AsyncIterator[Calls]:
        import aiohttp

        room = asyncio.Semaphore(POOL)
        decode, encode = msgspec.json.Decoder(Person).decode, msgspec.json.Encoder().encode
        headers = {"Content-Type": "application/json"}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:

            async def echo(body: bytes) -> bytes:
                async with room, session.post(address + ECHO, data=body) as response:
                    answer: bytes = await response.read()
                    return answer

            async def person(body: Any) -> Person:
                async with room, session.post(address + PERSON, data=encode(body), headers=headers) as response:
                    return decode(await response.read())

            yield {"bytes": echo, "json": person}
