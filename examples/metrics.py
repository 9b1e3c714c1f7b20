"""Metrics for Prometheus over HTTP. Needs the extra metrics.

python -m examples.metrics
"""

from __future__ import annotations

import asyncio
from urllib.request import urlopen

from prometheus_client import start_http_server

import arpc
from arpc.middleware import Metrics

router = arpc.Router()


@router.handle("/greet")
async def greet(name: str) -> str:
    return f"hello {name}"


@router.handle("/find")
async def find(name: str) -> str:
    raise arpc.RpcError(f"nobody is called {name}", arpc.Code.NOT_FOUND)


def scrape(port: int) -> str:
    """As Prometheus does."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text: str = answer.read().decode()
    return text


async def main() -> None:
    metrics = Metrics()  # one for all endpoints of the program
    http, thread = start_http_server(0, "127.0.0.1")
    serving = arpc.serve("tcp://127.0.0.1:0", router, middleware=[metrics])
    async with serving as server, arpc.connect(server.address) as peer:
        for name in "Ann", "Bob", "Eve":
            await peer.call("/greet", name, returns=str)
        try:
            await peer.call("/find", "Zoe")
        except arpc.RemoteError as error:
            print("the caller got:", error)
        text = await asyncio.to_thread(scrape, http.server_port)
    for line in text.splitlines():
        if line.startswith("arpc_") and "_bucket" not in line:  # those are for histograms
            print(line)
    http.shutdown()
    http.server_close()
    thread.join()


if __name__ == "__main__":
    arpc.run(main())
