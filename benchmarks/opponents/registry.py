"""Every system that the suite knows. A new one: its file, and its line here (docs/benchmarks.md)."""

from __future__ import annotations

import inspect

from benchmarks.opponents.aiohttp import Aiohttp
from benchmarks.opponents.bare import Bare
from benchmarks.opponents.base import Opponent, Unavailable
from benchmarks.opponents.chained import OursChain
from benchmarks.opponents.extras import OursBoth, OursDeadline, OursMetadata
from benchmarks.opponents.goarpc import GoArpcBest, GoArpcDefault
from benchmarks.opponents.grpc_aio import GrpcAio
from benchmarks.opponents.grpc_go import GrpcGo
from benchmarks.opponents.grpclib import Grpclib
from benchmarks.opponents.nbio import Nbio
from benchmarks.opponents.ours import Ours, OursAsyncio, OursTwo
from benchmarks.opponents.pycapnp import Pycapnp
from benchmarks.opponents.python import module_of
from benchmarks.opponents.rpcx import Rpcx
from benchmarks.opponents.rpyc import Rpyc
from benchmarks.opponents.websockets import Websockets

ALL: tuple[type[Opponent], ...] = (
    Ours,
    OursAsyncio,
    OursTwo,
    OursMetadata,
    OursDeadline,
    OursBoth,
    OursChain,
    Bare,
    GoArpcDefault,
    GoArpcBest,
    Rpcx,
    GrpcGo,
    Nbio,
    GrpcAio,
    Grpclib,
    Pycapnp,
    Rpyc,
    Aiohttp,
    Websockets,
)
QUICK = (Ours, Bare, GoArpcDefault, GoArpcBest)


def from_file(path: str) -> list[type[Opponent]]:
    """The systems that a file outside of this package defines. Raises `Unavailable` when there are none."""
    if not path.endswith(".py"):
        raise Unavailable(f"{path}: not the name of a Python file")
    module = module_of(path)
    found = [
        one
        for one in vars(module).values()
        if inspect.isclass(one)
        and issubclass(one, Opponent)
        and not inspect.isabstract(one)
        and one.__module__ == module.__name__
    ]
    if not found:
        raise Unavailable(f"{path}: there is no system in it")
    return found
