"""The client process of `benchmarks.memory`: opens connections, makes one call on each, and holds them.

    python -m benchmarks.idle ADDRESS COUNT raw|arpc

Prints {"connections": COUNT} when all stand, and ends when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys

from benchmarks.opponents.bare import HEADER, REQUEST
from benchmarks.opponents.python import until_stdin_closes
from benchmarks.workload import BODIES, ECHO, SIZES


def echo_body(number: int) -> bytes:
    """Each connection sends a body of its own."""
    body, _ = BODIES["bytes"](SIZES["bytes"], number)
    assert isinstance(body, bytes)
    return body


class WrongAnswer(Exception):
    """A connection was answered with something else than what it sent."""


def raw_connection(address: str, number: int) -> socket.socket:
    """A plain socket that has sent one request of the base protocol and read its answer."""
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=30)
    payload = ECHO.encode() + echo_body(number)
    connection.sendall(HEADER.pack(len(payload), 0, REQUEST, 0, len(ECHO), number + 1) + payload)
    answer = b""
    while len(answer) < 16 + len(payload) and (chunk := connection.recv(65536)):
        answer += chunk
    if answer[16:] != payload:
        raise WrongAnswer(f"connection {number}: {answer[:64]!r}")
    return connection


async def hold(address: str, count: int, client: str) -> None:
    """Open the connections one after the other, say so, and hold them until standard input closes."""
    held: list[object] = []
    if client == "raw":
        held += (raw_connection(address, number) for number in range(count))
    else:
        import arpc

        for number in range(count):
            peer = await arpc.connect(address)
            held.append(peer)
            if (answer := await peer.call(ECHO, echo_body(number), returns=bytes)) != echo_body(number):
                raise WrongAnswer(f"connection {number}: {answer[:64]!r}")
    print(json.dumps({"connections": len(held)}), flush=True)
    await until_stdin_closes()


if __name__ == "__main__":
    address, count, client = sys.argv[1:]
    asyncio.run(hold(address, int(count), client))
