"""arpc: one connection, two equal peers. Either side calls and notifies the other; see the README.

router = arpc.Router()

@router.handle("/greet")
async def greet(name: str) -> str:
    return f"Hello, {name}"

async with arpc.serve("tcp://127.0.0.1:0", router) as server, arpc.connect(server.address) as peer:
    await peer.call("/greet", "Ann", returns=str)
"""

from .broadcast import Report
from .client import Client, Connecting, connect
from .codecs import Codec
from .codes import Code
from .context import Context, current
from .errors import (
    AddressError,
    ArpcError,
    CallRefused,
    CallTimeout,
    CodecError,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    DecodeError,
    EncodeError,
    LimitExceeded,
    LocalProtocolError,
    LoopError,
    MethodNotFound,
    Overstock,
    ProtocolError,
    RegistrationError,
    RemoteError,
    RemoteProtocolError,
    RpcError,
    StreamEnded,
    StreamReset,
)
from .hello import Capabilities, Capability
from .identity import Identity
from .loops import run
from .options import Event, Options
from .outgoing import Outgoing
from .peer import Peer
from .router import Router
from .server import Server, Starting, serve
from .service import rpc
from .stats import Stats
from .stream import Stream

__version__ = "0.1.0"

__all__ = [
    "AddressError",
    "ArpcError",
    "CallRefused",
    "CallTimeout",
    "Capabilities",
    "Capability",
    "Client",
    "Code",
    "Codec",
    "CodecError",
    "ConnectError",
    "ConnectTimeout",
    "Connecting",
    "ConnectionClosed",
    "Context",
    "DecodeError",
    "EncodeError",
    "Event",
    "Identity",
    "LimitExceeded",
    "LocalProtocolError",
    "LoopError",
    "MethodNotFound",
    "Options",
    "Outgoing",
    "Overstock",
    "Peer",
    "ProtocolError",
    "RegistrationError",
    "RemoteError",
    "RemoteProtocolError",
    "Report",
    "Router",
    "RpcError",
    "Server",
    "Starting",
    "Stats",
    "Stream",
    "StreamEnded",
    "StreamReset",
    "connect",
    "current",
    "rpc",
    "run",
    "serve",
]
