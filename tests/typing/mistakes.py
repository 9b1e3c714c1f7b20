# type: ignore  # noqa: PGH003
# ruff: noqa: B018
"""What users write by mistake: mypy and pyright have to find every line that ends with "# error", and no other.

Where only one of them can, its name is there, too.

tests/unit/test_typing.py checks a copy of this file without its first line, which hides all of it from other runs.
"""

import arpc

router = arpc.Router()


class Greeter:
    @arpc.rpc
    async def greet(self, name: str) -> str:
        return name


async def forgotten_awaits(peer: arpc.Peer) -> None:
    peer.call("/greet")  # error
    peer.notify("/greet")  # error
    peer.ping()  # error
    peer.close()  # error
    peer.service(Greeter).greet("Ann")  # error
    server = arpc.serve("mem://0", router)
    server.address  # error
    server.stop()  # error
    client = arpc.connect("mem://0")
    client.notify("/greet")  # error
    with arpc.connect("mem://0"):  # error
        pass
    answer: str = peer.call("/greet", returns=str)  # error
    length = len(peer.call("/greet", returns=str))  # error
    del answer, length


async def wrong_types(peer: arpc.Peer) -> None:
    # mypy takes it for a call whose returns= is a union or the like, which is Any there.
    number: int = await peer.call("/greet", returns=str)  # error for pyright
    text: str = await peer.service(Greeter).greet("Ann") + 1  # error
    await peer.service(Greeter).greet(5)  # error
    await peer.service(Greeter).gret("Ann")  # error
    await peer.notifier(Greeter).greet()  # error
    await peer.call(5)  # error
    await peer.call("/greet", timeout="5")  # error
    await peer.call("/greet", return_type=str)  # error
    await peer.notify("/greet", returns=str)  # error
    arpc.current().metod  # error
    del number, text


async def wrong_streams(peer: arpc.Peer) -> None:
    peer.open_stream("/chat", returns=str).send("too early")  # error
    with peer.open_stream("/chat", returns=str):  # error
        pass
    async with peer.open_stream("/chat", returns=str, sends=str) as stream:
        stream.send("forgotten")  # error
        await stream.send(5)  # error
        number: int = await stream.recv()  # error
        for line in stream:  # error
            del line
        await stream.recv(5, 6)  # error
    peer.stream("/ticks", returns=int, time=5)  # error
    await peer.call("/greet", metadata=5)  # error
    del number


def not_async(peer: arpc.Peer) -> None:
    answer: bytes = arpc.run(peer.call("/greet", returns=str))  # error
    del answer
    arpc.run(arpc.connect("mem://0"))  # error


async def wrong_options() -> None:
    await arpc.serve("mem://0")  # error
    await arpc.serve("mem://0", router, max_inflght=5)  # error
    await arpc.connect("mem://0", max_body="large")  # error
    await arpc.connect("mem://0", codec=5)  # error


@router.handle  # error
async def without_a_name(name: str) -> None: ...


@router.handle("/greet", orderd=True)  # error
async def with_a_wrong_option(name: str) -> None: ...


@router.handle("/greet")
async def greet(name: str) -> str:
    return name


async def decorated() -> None:
    await greet(5)  # error
    number: int = await greet("Ann")  # error
    del number


class Wrong:
    @arpc.rpc  # error
    def plain(self) -> str:
        return "not async"


raise arpc.RpcError(code="denied")  # error
