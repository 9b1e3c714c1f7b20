"""Systems written in Python: two methods each, what runs them in processes of their own is here.

python -m benchmarks.opponents.python serve|drive MODULE_OR_FILE:CLASS [options]
"""

from __future__ import annotations

import abc
import asyncio
import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.loads import PATTERNS, Calls
from benchmarks.opponents.base import Opponent, Unavailable
from benchmarks.workload import Load, Result, Setup


class PythonOpponent(Opponent):
    """A system whose server and client are Python on asyncio."""

    patterns = frozenset({"closed", "open", "connect"})
    packages: tuple[str, ...] = ()
    """What has to be installed, as pip names it; the versions are shown."""

    @abc.abstractmethod
    def serve(self, setup: Setup) -> AbstractAsyncContextManager[str]:
        """Serve while it is entered, on a free port of 127.0.0.1; gives the address, in whatever form."""

    @abc.abstractmethod
    def connect(self, address: str, setup: Setup) -> AbstractAsyncContextManager[Calls]:
        """One connection to a server of that setup; gives what it can do, at least the call of `setup.body`."""

    def run(self, main: Coroutine[Any, Any, Any]) -> None:
        """Run server or client; on uvloop, unless this is overridden."""
        import uvloop

        uvloop.run(main)

    def prepare(self) -> str:
        versions = []
        for package in self.packages:
            try:
                versions.append(f"{package} {importlib.metadata.version(package)}")
            except importlib.metadata.PackageNotFoundError:
                raise Unavailable(f"{package} is not installed: pip install {package}") from None
        return ", ".join(versions)

    def server_command(self) -> list[str]:
        return [sys.executable, "-m", __name__, "serve", self._spec()]

    def client_command(self) -> list[str]:
        return [sys.executable, "-m", __name__, "drive", self._spec()]

    def _spec(self) -> str:
        """What `module_of` finds this class by, in another process."""
        name = type(self).__module__
        return f"{_files.get(name, name)}:{type(self).__name__}"


_files: dict[str, str] = {}
"""Where modules are from that are none of this package's."""


def module_of(name: str) -> Any:
    """A module by its dotted name, or by the path of a file that is none of this package's."""
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = Path(name).resolve()
    spec = importlib.util.spec_from_file_location(f"added_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise Unavailable(f"{name}: there is no such file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    _files[spec.name] = str(path)
    spec.loader.exec_module(module)
    return module


async def serve(opponent: PythonOpponent, setup: Setup) -> None:
    """The server's process: say where it is, and serve until the benchmark closes standard input or is gone."""
    async with opponent.serve(setup) as address:
        print(json.dumps({"address": address}), flush=True)
        await until_stdin_closes()


async def until_stdin_closes() -> None:
    """Return when the benchmark, which holds the other end, closes it or is gone: no process outlives its run."""
    loop = asyncio.get_running_loop()
    closed = loop.create_future()
    stdin = sys.stdin.fileno()

    def readable() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            closed.set_result(None)

    loop.add_reader(stdin, readable)
    await closed


async def drive(opponent: PythonOpponent, address: str, load: Load) -> None:
    """The load client's process."""
    print_result(await PATTERNS[load.pattern](address, load, partial(opponent.connect, setup=load.setup)))


def print_result(result: Result) -> None:
    """One line of JSON, as the benchmark reads it."""
    print(json.dumps(asdict(result)), flush=True)


def main(argv: list[str]) -> None:
    """Run one side of one system."""
    side, spec, *options = argv
    module, _, name = spec.rpartition(":")
    opponent: PythonOpponent = getattr(module_of(module), name)()
    if side == "serve":
        opponent.run(serve(opponent, Setup.parse(options)))
    else:
        opponent.run(drive(opponent, *Load.parse(options)))


if __name__ == "__main__":
    main(sys.argv[1:])
