"""Gzip, Zstd and LZ4: what goes in comes out, and what comes from elsewhere is bounded."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from random import Random
from typing import Any

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from arpc.coders import Coder, Gzip, Lz4, Zstd
from arpc.errors import RemoteProtocolError
from arpc.frame import NOTIFY, encode
from arpc_codecs.coders.gzip import CHUNK, MEMBERS

LIMIT = 1 << 20
MAKERS: dict[str, Callable[..., Coder]] = {"gzip": Gzip, "zstd": Zstd, "lz4": Lz4}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
BITS = {Gzip: 7, Zstd: 6, Lz4: 5}
PACK: dict[Any, Callable[[bytes], bytes]] = {
    Gzip: gzip.compress,
    Zstd: lambda data: b"\x1f" + zstandard.ZstdCompressor().compress(data),
    Lz4: lambda data: b"\x1f" + lz4.frame.compress(data),
}
"""The same bytes from the libraries themselves."""


def frame(data: bytes = b"") -> bytes:
    return encode(NOTIFY, 0, 5, b"/n", data)


def packed(make: Any, rest: bytes, *, bits: int | None = None) -> bytes:
    """A frame whose part behind the bits is this."""
    bits = 1 << BITS[make] if bits is None else bits
    return max(len(rest) - 11, 0).to_bytes(4, "little") + bytes((bits,)) + rest


def refused(make: Any, rest: bytes, limit: int = LIMIT) -> str:
    """The error is one that closes the connection, or that the session makes one of."""
    with pytest.raises(Exception) as caught:  # see test_any_bytes for the kinds
        make(0).decode(packed(make, rest), {}, limit)
    return str(caught.value)


@every
@given(data=st.binary(max_size=500), times=st.integers(1, 200), threshold=st.integers(0, 2000))
def test_what_goes_in_comes_out(make: Any, data: bytes, times: int, threshold: int) -> None:
    coder = make(threshold)
    plain = frame(data * times)
    coded = coder.encode(plain, {})
    assert len(coded) <= len(plain)
    assert int.from_bytes(coded[:4], "little") == len(coded) - 16
    assert coder.decode(coded, {}, LIMIT) == plain
    if len(plain) <= threshold:
        assert coded == plain


@every
def test_what_it_makes(make: Any) -> None:
    coded = make(100).encode(frame(b"a" * 1000), {})
    assert coded[4] == 1 << BITS[make]
    assert coded[5] == 0x1F
    assert len(coded) < 100
    other = encode(NOTIFY, 0, 5, b"/n", b"a" * 1000, 0x11)
    assert make(0).encode(other, {})[4] == 0x11 | 1 << BITS[make]
    assert make(0).decode(make(0).encode(other, {}), {}, LIMIT) == other


@every
def test_what_does_not_help_is_left_out(make: Any) -> None:
    noise = frame(Random(1).randbytes(2000))
    assert make(0).encode(noise, {}) is noise
    assert make(0).encode(frame(), {}) == frame()


@every
def test_frames_without_the_bit_are_left_alone(make: Any) -> None:
    data = frame(b"x")
    assert make(0).decode(data, {}, LIMIT) is data


@every
def test_streams_of_others_are_read(make: Any) -> None:
    plain = frame(b"abc" * 1000)
    assert make(0).decode(packed(make, PACK[make](plain[5:])), {}, LIMIT) == plain


@every
def test_the_limit_is_that_of_the_body(make: Any) -> None:
    plain = frame(bytes(998))
    rest = PACK[make](plain[5:])
    assert make(0).decode(packed(make, rest), {}, 1000) == plain
    assert "over 999 bytes (max_body)" in refused(make, rest, 999)


@every
def test_a_bomb(make: Any) -> None:
    rest = PACK[make](bytes(100 << 20))
    assert len(rest) < 1 << 20
    assert f"over {LIMIT} bytes (max_body)" in refused(make, rest)


@every
def test_a_stream_that_is_cut_off(make: Any) -> None:
    rest = PACK[make](frame(b"abc" * 1000)[5:])
    for size in (11, len(rest) // 2, len(rest) - 1):
        assert refused(make, rest[:size])


@every
def test_something_behind_a_stream(make: Any) -> None:
    rest = PACK[make](frame(b"abc" * 1000)[5:])
    for tail in (b"\0", b"x", bytes(100)):
        assert refused(make, rest + tail)


@every
@pytest.mark.parametrize("data", [b"", b"\x01", bytes(10)])
def test_what_is_too_short_for_a_frame_is_no_frame(make: Any, data: bytes) -> None:
    """The session refuses it: its header does not say what is there."""
    plain = make(0).decode(packed(make, PACK[make](data)), {}, LIMIT)
    assert len(plain) < 16


@every
@given(rest=st.binary(min_size=11, max_size=300))
def test_any_bytes(make: Any, rest: bytes) -> None:
    coder = make(0)
    for data in (packed(make, rest), packed(make, PACK[make](b"abc" * 100)[:20] + rest)):
        try:
            coder.decode(data, {}, 1000)
        except (RemoteProtocolError, ValueError, RuntimeError, gzip.zlib.error, zstandard.ZstdError):  # type: ignore[attr-defined]
            pass


def test_gzip_members_follow_each_other_as_go_reads_them() -> None:
    plain = frame(b"abc" * 1000)
    rest = gzip.compress(plain[5:100]) + gzip.compress(b"") + gzip.compress(plain[100:])
    assert Gzip(0).decode(packed(Gzip, rest), {}, LIMIT) == plain
    assert "max_body" in refused(Gzip, rest, 500)
    assert "cut off" in refused(Gzip, rest[:-1])


def test_gzip_members_across_chunks() -> None:
    noise = Random(2).randbytes(10 * CHUNK)
    plain = frame(noise)
    rest = b"".join(gzip.compress(part) for part in (plain[5:30], plain[30 : 3 * CHUNK], plain[3 * CHUNK :], b""))
    assert Gzip(0).decode(packed(Gzip, rest), {}, LIMIT) == plain
    assert "cut off" in refused(Gzip, rest[:CHUNK])


def test_gzip_members_are_counted() -> None:
    plain = frame(b"abc")
    rest = gzip.compress(plain[5:]) + gzip.compress(b"") * (MEMBERS - 1)
    assert Gzip(0).decode(packed(Gzip, rest), {}, LIMIT) == plain
    assert f"more than {MEMBERS} members" in refused(Gzip, rest + gzip.compress(b"") * 1_000_000)


def test_a_zstd_stream_that_lies_about_its_content() -> None:
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000))
    assert "does not say how large" in refused(Zstd, b"\x1f" + unsized)
    short, long = (zstandard.ZstdCompressor().compress(bytes(size)) for size in (1000, 100))
    # Two frames in a row have more than the first one claims; and one may be made to claim what it has not.
    assert "has not the 1000 bytes" in refused(Zstd, b"\x1f" + short + long)
    lying = bytearray(zstandard.ZstdCompressor().compress(bytes(1000)))
    assert int.from_bytes(lying[5:7], "little") == 1000 - 256
    lying[5:7] = (LIMIT % 65_536).to_bytes(2, "little")
    assert refused(Zstd, b"\x1f" + bytes(lying))


def test_a_zstd_window_that_is_too_large() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
    packer = zstandard.ZstdCompressor(compression_params=parameters)
    stream = packer.compressobj(size=20 << 20)
    data = stream.compress(bytes(20 << 20)) + stream.flush()
    with pytest.raises(Exception, match="memory"):
        Zstd(0).decode(packed(Zstd, b"\x1f" + data), {}, 64 << 20)


@pytest.mark.parametrize("make", [Zstd, Lz4])
def test_byte_5_marks_what_is_coded(make: Any) -> None:
    assert "byte 5 of the frame is not 0x1f" in refused(make, b"\x01" + bytes(20))


MISTAKES: list[tuple[Any, dict[str, Any], str]] = [
    (Gzip, {"threshold": -1}, "threshold is a whole number from 0"),
    (Zstd, {"threshold": 1.5}, "not 1.5"),
    (Lz4, {"threshold": True}, "not True"),
    (Gzip, {"level": 0}, "level is a whole number from 1 to 9, not 0"),
    (Zstd, {"level": 20}, "from 1 to 19, not 20"),
    (Lz4, {"level": 13}, "from 0 to 12, not 13"),
]


@pytest.mark.parametrize(("make", "options", "says"), MISTAKES)
def test_options_that_make_no_sense(make: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as caught:
        make(**options)
    assert says in str(caught.value)


@every
@pytest.mark.parametrize("level", [1, 9])
def test_levels(make: Any, level: int) -> None:
    plain = frame(b"abcdefgh" * 1000)
    assert make(0).decode(make(0, level).encode(plain, {}), {}, LIMIT) == plain


@pytest.mark.parametrize("first", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("second", MAKERS.values(), ids=MAKERS)
def test_what_is_compressed_is_not_compressed_again(first: Any, second: Any) -> None:
    plain = frame(bytes(10_000_000))
    coded = first(0).encode(plain, {})
    assert len(coded) > 300  # it would still become shorter
    assert second(0).encode(coded, {}) == coded
    assert first(0).decode(coded, {}, 1 << 24) == plain
