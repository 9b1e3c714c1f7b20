"""Whatever bytes come to a session with coders, in whatever chunks: it reads them, or raises RemoteProtocolError.

And what it has read does not depend on how the bytes were cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arpc.coders import Appender, Coder, Gzip, Lz4, MsgpackValues, OpenTracing, SpanContext, Zstd
from arpc.errors import RemoteProtocolError
from arpc.frame import NOTIFY, REQUEST, RESPONSE, STREAM, STREAM_LOCAL, encode
from arpc.metadata import Metadata
from tests.wire.coding import Xor, base_pair
from tests.wire.feeding import Side, at_random

LIMIT = 3000
quiet = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
CHAINS: dict[str, Callable[[], list[Coder]]] = {
    "gzip": lambda: [Gzip(0)],
    "zstd": lambda: [Zstd(0)],
    "lz4": lambda: [Lz4(0)],
    "appender": lambda: [Appender("app", 3)],
    "tracing": lambda: [OpenTracing()],
    "msgpack": lambda: [MsgpackValues()],
    "all": lambda: [Appender("app", 3), OpenTracing(), MsgpackValues(), Gzip(0), Xor()],
}
every_chain = pytest.mark.parametrize("coders", CHAINS.values(), ids=CHAINS)
VALUES = {"app": b"value", "arpc-opentracing": SpanContext(1, 2, baggage={"k": "v"})}


@st.composite
def coded_frames(draw: st.DrawFn, chain: list[Coder]) -> bytes:
    """A frame as these coders make it, now and then with a few bytes changed, or none at all of their making."""
    command = draw(st.sampled_from([REQUEST, RESPONSE, NOTIFY, STREAM | STREAM_LOCAL, 30, 7]))
    method = draw(st.sampled_from([b"/a", b"", b"/long" * 10]))
    data = draw(st.binary(max_size=30)) * draw(st.sampled_from([1, 1, 200]))
    frame = encode(command, draw(st.sampled_from([0, 1])), draw(st.integers(1, 5)), method, data)
    carried = {
        name: value
        for name, value in VALUES.items()
        if any(coder.carries is not None and name in coder.carries for coder in chain)
    }
    values: dict[str, Any] = draw(st.sampled_from([{}, carried]))
    for coder in chain if draw(st.integers(0, 9)) else []:
        frame = coder.encode(frame, values)
    made = bytearray(frame)
    if draw(st.integers(0, 2)) == 0:
        for at in draw(st.lists(st.integers(4, len(made) - 1), max_size=3)):
            made[at] ^= draw(st.integers(1, 255))
    if draw(st.integers(0, 9)) == 0:
        made[4] = draw(st.integers(0, 255))
    return bytes(made)


def read(side: Side, chunks: list[bytes]) -> tuple[list[Any], str]:
    """What came out, and the error if there was one."""
    error = ""
    for chunk in chunks:
        try:
            side.session.receive(chunk)
        except RemoteProtocolError as raised:
            error = str(raised)
            break
    messages = [
        (*message[:2], dict(message[2].values) if isinstance(message[2], Metadata) else 0, *message[3:])
        for message in side.messages
    ]
    heard = [listener.heard for listener in side.streams.values()]
    return [messages, side.answers, heard, side.session.dropped], error


@every_chain
@quiet
@given(data=st.data(), seed=st.integers(0, 1 << 30))
def test_any_frames_in_any_chunks(coders: Callable[[], list[Coder]], data: st.DataObject, seed: int) -> None:
    chain = coders()
    said = b"".join(data.draw(st.lists(coded_frames(chain), max_size=6)))
    whole, cut = (base_pair(chain, max_body=LIMIT)[0] for _ in range(2))
    for side in (whole, cut):
        side.session.pending[3] = b"/a", "token"
    assert read(whole, [said]) == read(cut, at_random(said, seed))


@every_chain
@quiet
@given(said=st.binary(max_size=400), seed=st.integers(0, 1 << 30))
def test_any_bytes(coders: Callable[[], list[Coder]], said: bytes, seed: int) -> None:
    chain = coders()
    whole, cut = (base_pair(chain, max_body=LIMIT)[0] for _ in range(2))
    assert read(whole, [said]) == read(cut, at_random(said, seed))
