"""Frames are cut by their length alone, however they are chunked."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arpc.cutter import Cutter
from arpc.frame import CHUNK, HEADER_SIZE
from tests.wire.feeding import TAIL, Way, at_random, every_way, with_tail

LIMIT = 100_000


def frame(size: int, fill: int = 0xEE) -> bytes:
    """Of whatever bytes: command and method's length mean nothing here."""
    return size.to_bytes(4, "little") + bytes((fill,)) * (HEADER_SIZE - 4 + size)


FRAMES = [frame(size) for size in (0, 1, 200, 0, 70_000, 3)]


@every_way
def test_whole_frames(way: Way) -> None:
    cutter = Cutter(LIMIT)
    assert [cut for chunk in way(b"".join(FRAMES)) for cut in cutter.cut(chunk)] == FRAMES
    assert cutter.error is None
    assert cutter.unfinished == (len(TAIL) if way is with_tail else 0)


@given(st.lists(st.integers(0, 300), max_size=10), st.integers(0, 1 << 30))
def test_any_chunks(sizes: list[int], seed: int) -> None:
    frames = [frame(size) for size in sizes]
    cutter = Cutter(LIMIT)
    assert [cut for chunk in at_random(b"".join(frames), seed) for cut in cutter.cut(chunk)] == frames
    assert cutter.unfinished == 0


@every_way
def test_a_header_that_claims_too_much_ends_it(way: Way) -> None:
    cutter = Cutter(10)
    data = frame(10) + frame(11) + frame(1)
    assert [cut for chunk in way(data) for cut in cutter.cut(chunk)] == [frame(10)]
    assert "a body of 11 bytes, 10 are accepted (max_body)" in str(cutter.error)
    assert cutter.cut(frame(1)) == []


def test_what_is_kept_grows_with_the_bytes_that_arrive() -> None:
    cutter = Cutter(1 << 30)
    assert cutter.cut(frame(0)[:16].replace(bytes(4), (1 << 30).to_bytes(4, "little"), 1)) == []
    assert cutter.unfinished == HEADER_SIZE
    for n in range(1, 50):
        assert cutter.cut(b"x" * CHUNK) == []
        assert cutter.unfinished == HEADER_SIZE + n * CHUNK
    cutter.clear()
    assert cutter.unfinished == 0
    assert cutter.cut(frame(1)) == [frame(1)]


@pytest.mark.parametrize("seed", range(5))
def test_a_large_frame_in_uneven_chunks(seed: int) -> None:
    random = Random(seed)
    data = frame(60_000)[:HEADER_SIZE] + random.randbytes(60_000)
    cutter = Cutter(LIMIT)
    assert [cut for chunk in at_random(data * 3, seed) for cut in cutter.cut(chunk)] == [data] * 3
