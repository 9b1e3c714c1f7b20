"""The header and the splitter, on any chunking: every frame, every command byte, every lie about a length."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from struct import pack
from typing import Any

import pytest

from arpc.errors import LocalProtocolError, RemoteProtocolError
from arpc.frame import (
    FLAG_ASYNC,
    FLAG_ERROR,
    HEADER,
    HEADER_SIZE,
    NOTIFY,
    PING,
    PONG,
    REQUEST,
    RESPONSE,
    STREAM,
    STREAM_EOF,
    STREAM_LOCAL,
    Frame,
    Splitter,
    encode,
    encode_method,
)
from tests.wire.feeding import TAIL, Way, at_random, bytewise, every_way, split, whole, with_tail

MIB = 1024 * 1024
LIMIT = 64 * MIB - 16

FRAMES: list[Frame] = [
    (REQUEST, 0, 0, 1, b"/echo", b"hello"),
    (REQUEST, FLAG_ASYNC, 0, 2, b"/nil", b""),
    (RESPONSE, FLAG_ERROR | FLAG_ASYNC, 0, 2**64 - 1, b"/nil", b"boom"),
    (PING, 0, 0, 0, b"", b""),
    (PONG, 0, 0, 0, b"", b"with data"),
    (NOTIFY, FLAG_ASYNC, 0x80, 3, b"n" * 127, bytes(range(256)) * 300),
    (STREAM | STREAM_LOCAL, 0, 0, 4, b"/up", b"item"),
    (STREAM | STREAM_LOCAL | STREAM_EOF, 0, 0xFF, 4, b"/up", b""),
    (STREAM | STREAM_EOF, 0, 0, 4, b"/up", b"last"),
    (STREAM, 0, 0, 5, "/ü".encode(), b"\0"),
    (NOTIFY, 0, 0, 6, b"\xff\xfe", b"a method that is no UTF-8 is only bytes here"),
]


def wire(frame: Frame) -> bytes:
    command, flag, reserved, seq, method, data = frame
    return encode(command, flag, seq, method, data, reserved)


# --- encoding


def test_the_header_has_16_bytes_little_endian() -> None:
    assert HEADER.size == HEADER_SIZE == 16
    data = encode(0x86, 0x03, 0x0102030405060708, b"/m", b"xyz", reserved=0x81)
    assert data == b"\x05\0\0\0\x81\x86\x03\x02\x08\x07\x06\x05\x04\x03\x02\x01/mxyz"


def test_what_is_left_out_is_empty() -> None:
    assert encode(PING, 0, 0) == b"\0\0\0\0\0\x04" + bytes(10)


@pytest.mark.parametrize("method", ["m", "/echo", "ü" * 63, "m" * 127, "\0"])
def test_a_method_is_utf8(method: str) -> None:
    assert encode_method(method) == method.encode()


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("", r"a method has 1 to 127 bytes, this one has 0: ''"),
        ("m" * 128, r"1 to 127 bytes, this one has 128: 'mmm"),
        ("ü" * 64, r"1 to 127 bytes, this one has 128"),
        ("\ud800", r"method '\\ud800' cannot be written as UTF-8"),
    ],
)
def test_a_method_that_cannot_be_sent_is_named(method: str, why: str) -> None:
    with pytest.raises(LocalProtocolError, match=why):
        encode_method(method)


# --- splitting


@every_way
@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_one_frame(frame: Frame, way: Way) -> None:
    splitter = Splitter(LIMIT)
    frames = split(splitter, way(wire(frame)))
    assert frames == [frame]
    assert type(frames[0][4]) is type(frames[0][5]) is bytes
    assert splitter.unfinished == (len(TAIL) if way is with_tail else 0)
    assert splitter.error is None


@every_way
def test_many_frames(way: Way) -> None:
    assert split(Splitter(LIMIT), way(b"".join(map(wire, FRAMES)))) == FRAMES


@pytest.mark.parametrize("seed", range(100))
def test_many_frames_in_random_chunks(seed: int) -> None:
    assert split(Splitter(LIMIT), at_random(b"".join(map(wire, FRAMES)), seed)) == FRAMES


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 31, 32, 33, 1000])
def test_many_frames_in_equal_chunks(size: int) -> None:
    data = b"".join(map(wire, FRAMES)) * 2
    assert split(Splitter(LIMIT), [data[at : at + size] for at in range(0, len(data), size)]) == FRAMES * 2


def test_a_frame_is_handed_out_with_its_last_byte() -> None:
    frame = wire(FRAMES[0])
    for cut in range(len(frame)):
        splitter = Splitter(LIMIT)
        assert splitter.feed(frame[:cut]) == []
        assert splitter.unfinished == cut
        assert splitter.feed(frame[cut:]) == [FRAMES[0]]
        assert splitter.unfinished == 0


def test_the_tail_is_the_next_frames_beginning() -> None:
    splitter = Splitter(LIMIT)
    split(splitter, with_tail(wire(FRAMES[0])))
    assert splitter.feed(encode(PING, 0, 0)[len(TAIL) :]) == [(PING, 0, 0, 0, b"", b"")]


def test_nothing_fed_is_nothing_found() -> None:
    splitter = Splitter(LIMIT)
    assert splitter.feed(b"") == []
    splitter.feed(TAIL)
    assert splitter.feed(b"") == []
    assert splitter.unfinished == len(TAIL)


# --- lengths


@every_way
@pytest.mark.parametrize("limit", [10, 11, 1000])
def test_a_body_of_the_limit_is_accepted(limit: int, way: Way) -> None:
    frame: Frame = (REQUEST, 0, 0, 1, b"/m", b"x" * (limit - 2))
    assert split(Splitter(limit), way(wire(frame))) == [frame]


@every_way
@pytest.mark.parametrize("claim", [LIMIT + 1, 2**31, 2**32 - 1])
def test_a_claim_above_the_limit_ends_it(claim: int, way: Way) -> None:
    splitter = Splitter(LIMIT)
    bad = pack("<IBBBBQ", claim, 0, REQUEST, 0, 2, 1)
    assert split(splitter, way(wire(FRAMES[0]) + wire(FRAMES[3]) + bad + b"/m" + wire(FRAMES[0]))) == [
        FRAMES[0],
        FRAMES[3],
    ]
    assert isinstance(splitter.error, RemoteProtocolError)
    assert str(splitter.error) == f"a frame claims a body of {claim} bytes, {LIMIT} are accepted (max_body)"
    assert splitter.unfinished == 0


@every_way
@pytest.mark.parametrize(("method_size", "length"), [(1, 0), (5, 4), (255, 254), (128, 3)])
def test_a_method_longer_than_its_frame_comes_out_empty(method_size: int, length: int, way: Way) -> None:
    bad = pack("<IBBBBQ", length, 0, REQUEST, FLAG_ASYNC, method_size, 9) + b"x" * length
    after = wire(FRAMES[0])
    assert split(Splitter(LIMIT), way(bad + after)) == [(REQUEST, FLAG_ASYNC, 0, 9, b"", b""), FRAMES[0]]


@every_way
@pytest.mark.parametrize("size", [0, 128, 255])
def test_a_method_of_a_length_that_is_not_allowed_is_for_others_to_refuse(size: int, way: Way) -> None:
    frame: Frame = (REQUEST, 0, 0, 9, b"m" * size, b"data")
    assert split(Splitter(LIMIT), way(wire(frame))) == [frame]


def test_a_length_that_is_too_small_makes_the_rest_a_header() -> None:
    """The lie is found where the next header should be: here the text ``/echohello, world`` with its command ``l``."""
    bad = pack("<IBBBBQ", 4, 0, REQUEST, 0, 4, 1) + b"/echohello, world...."
    splitter = Splitter(LIMIT)
    assert splitter.feed(bad) == [(REQUEST, 0, 0, 1, b"/ech", b"")]
    assert splitter.error is not None


# --- commands


def meaning(command: int) -> int | None:
    """What PROTOCOL says of a command byte: stream frames keep their two bits, others do not have them."""
    bare = command % 64
    if bare not in {1, 2, 3, 4, 5, 6}:
        return None
    return command if bare == 6 else bare


@every_way
@pytest.mark.parametrize("command", range(256))
def test_every_command_byte(command: int, way: Way) -> None:
    before = FRAMES[0]
    after: Frame = (PING, 0, 0, 0, b"", b"")
    splitter = Splitter(LIMIT)
    frames = split(splitter, way(wire(before) + encode(command, 0, 7, b"/m", b"x") + wire(after)))
    known = meaning(command)
    if known is None:
        assert frames == [before]
        assert isinstance(splitter.error, RemoteProtocolError)
        assert f"unknown command {command & 0x3F}" in str(splitter.error)
    else:
        assert frames == [before, (known, 0, 0, 7, b"/m", b"x"), after]
        assert splitter.error is None


@pytest.mark.parametrize("cut", [whole, bytewise])
def test_after_the_end_nothing_is_found_and_nothing_is_kept(cut: Way) -> None:
    splitter = Splitter(LIMIT)
    assert split(splitter, cut(encode(7, 0, 0))) == []
    error = splitter.error
    assert error is not None
    assert split(splitter, cut(b"".join(map(wire, FRAMES)) * 3 + TAIL)) == []
    assert splitter.error is error
    assert splitter.unfinished == 0


# --- what it costs


def chunks_of(frame: bytes, size: int) -> Iterator[bytes]:
    view = memoryview(frame)
    return (bytes(view[at : at + size]) for at in range(0, len(frame), size))


def seconds(work: Callable[[], object]) -> float:
    """CPU time of the best of three: what else the machine does counts for nothing."""

    def once() -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    return min(once() for _ in range(3))


@pytest.mark.parametrize("body", [16 * MIB, 64 * MIB], ids=["16 MiB", "64 MiB"])
def test_a_large_body_arrives_in_linear_time(body: int) -> None:
    """Either size costs about what joining its chunks costs. A buffer that is copied for each chunk costs 25 times
    that at 16 MiB, and 260 times at 64 MiB. The two sizes are not set against each other: fresh memory, which the
    larger one needs, costs more a byte than memory that was used before."""
    frame = encode(REQUEST, 0, 1, b"/m", bytes(body))

    def joined() -> bytes:
        return b"".join(list(chunks_of(frame, 64 * 1024)))[HEADER_SIZE + 2 :]

    def splitted() -> list[Frame]:
        return split(Splitter(128 * MIB), chunks_of(frame, 64 * 1024))

    [found] = splitted()
    assert found == (REQUEST, 0, 0, 1, b"/m", joined())
    assert seconds(splitted) < 8 * seconds(joined)


@pytest.mark.parametrize("arrived", [0, 1000])
def test_a_claim_of_64_mib_costs_what_arrived_of_it(arrived: int) -> None:
    splitter = Splitter(LIMIT)
    header = pack("<IBBBBQ", LIMIT, 0, REQUEST, 0, 2, 1)
    tracemalloc.start()
    try:
        splitter.feed(header + bytes(arrived))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert splitter.unfinished == HEADER_SIZE + arrived
    assert peak < 64 * 1024


def test_chunks_of_two_bytes_do_not_multiply_memory() -> None:
    size = MIB // 4
    frame = encode(REQUEST, 0, 1, b"/m", bytes(size))
    splitter = Splitter(LIMIT)
    gc.collect()
    tracemalloc.start()
    try:
        for chunk in chunks_of(frame[:-2], 2):
            splitter.feed(chunk)
        held, peak = tracemalloc.get_traced_memory()
        assert splitter.feed(frame[-2:]) == [(REQUEST, 0, 0, 1, b"/m", bytes(size))]
    finally:
        tracemalloc.stop()
    assert held < 1.25 * size
    assert peak < 2.5 * size


@pytest.mark.parametrize("method", [b"/x", None, 5])
def test_a_method_is_a_string(method: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"a method is a string like '/name', not"):
        encode_method(method)
