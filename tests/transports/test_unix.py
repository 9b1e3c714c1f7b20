"""Unix sockets: the file that stands for one, and what else may be in its place."""

# ruff: noqa: ASYNC240  # these look at their own files, and hold nobody up

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import arpc
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def path(short_path: Path) -> Path:
    return short_path / "service.sock"


async def served(address: str) -> bool:
    router = arpc.Router()

    @router.handle("/who")
    def who() -> str:
        return "me"

    async with arpc.serve(address, router) as server, arpc.connect(server.address) as client:
        return bool(await client.call("/who", returns=str) == "me")


async def test_the_file_is_removed_when_the_server_stops(path: Path) -> None:
    server = await arpc.serve(f"unix://{path}", arpc.Router())
    assert path.is_socket()
    assert server.address == f"unix://{path}"
    await server.stop()
    assert not path.exists()
    await server.stop()


async def test_a_stale_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.is_socket()
    assert await served(f"unix://{path}")
    assert not path.exists()


async def test_a_socket_that_was_bound_and_never_listened_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert await served(f"unix://{path}")


async def test_a_live_socket_is_refused_and_lives_on(path: Path) -> None:
    address = f"unix://{path}"
    async with arpc.serve(address, arpc.Router()) as server:
        with pytest.raises(arpc.ConnectError) as caught:
            await arpc.serve(address, arpc.Router())
        assert str(caught.value) == f"cannot listen on {address}: another server is listening there"
        async with arpc.connect(server.address) as client:
            await client.ping()


async def test_a_live_socket_of_another_program_is_refused(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(str(path))
        with pytest.raises(arpc.ConnectError, match="cannot listen on"):
            await arpc.serve(f"unix://{path}", arpc.Router())
        assert path.is_socket()
        for sock in waiting:
            sock.close()


async def test_a_file_that_is_no_socket_is_refused_and_stays(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(arpc.ConnectError) as caught:
        await arpc.serve(f"unix://{path}", arpc.Router())
    assert str(caught.value) == f"cannot listen on unix://{path}: there is a file that is no socket"
    assert path.read_text() == "precious"
    with pytest.raises(arpc.ConnectError):
        await arpc.connect(f"unix://{path}")


async def test_a_folder_is_refused_and_stays(path: Path) -> None:
    path.mkdir()
    with pytest.raises(arpc.ConnectError):
        await arpc.serve(f"unix://{path}", arpc.Router())
    assert path.is_dir()


async def test_a_folder_that_is_not_there(short_path: Path) -> None:
    with pytest.raises(arpc.ConnectError, match="No such file"):
        await arpc.serve(f"unix://{short_path / 'missing' / 'x.sock'}", arpc.Router())
    with pytest.raises(arpc.ConnectError, match="No such file"):
        await arpc.connect(f"unix://{short_path / 'missing' / 'x.sock'}")


async def test_a_link_that_leads_nowhere_is_refused(path: Path) -> None:
    path.symlink_to("nowhere")
    with pytest.raises(arpc.ConnectError):
        await arpc.serve(f"unix://{path}", arpc.Router())
    assert path.is_symlink()


async def test_a_successor_s_file_is_left_alone(path: Path) -> None:
    """Somebody else has taken the path meanwhile: stopping must not remove their socket."""
    server = await arpc.serve(f"unix://{path}", arpc.Router())
    path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(path))
        successor.listen()
        await server.stop()
        assert path.is_socket()


async def test_a_file_that_was_removed_meanwhile_is_no_error(path: Path) -> None:
    server = await arpc.serve(f"unix://{path}", arpc.Router())
    path.unlink()
    await server.stop()


@pytest.mark.parametrize("name", ["sömé päth 名前.sock", "with space", "a:b", "%41", "[x]"])
async def test_paths_of_any_kind(short_path: Path, name: str) -> None:
    assert await served(f"unix://{short_path / name}")
    assert not (short_path / name).exists()


async def test_an_absolute_path(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    if len(os.fsencode(path)) > 107:
        pytest.skip("the folder for tests has too long a path")
    async with arpc.serve(f"unix://{path}", arpc.Router()) as server:
        assert server.address == f"unix://{path}"
        async with arpc.connect(server.address) as client:
            await client.ping()
            await eventually(lambda: server.peers)
            (peer,) = server.peers
            assert peer.address.startswith("unix://")
    assert not path.exists()


async def test_the_longest_path(short_path: Path) -> None:
    assert await served("unix://" + "x" * 107)
    assert await served("unix://" + "ä" * 53)
