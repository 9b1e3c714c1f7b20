"""What coders an endpoint takes, and where the coders themselves come from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import arpc
import arpc.coders
import arpc_codecs.coders
from arpc.coders import Appender, Coder, Encrypt, Gzip, Lz4, MsgpackValues, OpenTracing, Zstd, check_coders
from arpc.options import Options
from tests.wire.coding import Counted, Named, Xor

BASE = Options(extensions=False)
KEYS = {"k": bytes(32)}


def test_all_that_are_here_go_together() -> None:
    coders = [Appender("app", 4), OpenTracing(), MsgpackValues(), Gzip(), Zstd(), Lz4(), Encrypt(KEYS, "k")]
    assert check_coders(coders, Options()) == tuple(coders)
    assert check_coders((), Options()) == ()


def test_a_coder_is_called_as_its_class_unless_it_says_so() -> None:
    assert Xor.name == "Xor"
    assert Gzip.name == "gzip"
    assert Counted().has_state
    assert not Xor().has_state
    assert Xor().offer() == b""
    Xor().accept(b"anything", dialled=True)


class NoDecode(Coder):
    def encode(self, frame: bytes, values: Any) -> bytes:
        return frame


class NoEncode(Coder):
    def decode(self, frame: bytes, values: Any, limit: int) -> bytes:
        return frame


class Overhead(Named):
    overhead = -1


class Offering(Named):
    def offer(self) -> Any:
        return b"x" * 256 if self.name == "long" else "text"


def bit(number: Any, name: str = "other") -> Coder:
    coder = Named(name)
    coder.bit = number
    return coder


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "no list": (Gzip(), TypeError, "coders is a list"),
    "a class": ([Gzip], TypeError, "write Gzip(), an object"),
    "something else": (["gzip"], TypeError, "not 'gzip'"),
    "no encode": ([NoEncode()], TypeError, "'NoEncode' has no encode()"),
    "no decode": ([NoDecode()], TypeError, "'NoDecode' has no decode()"),
    "no name": ([Named("")], ValueError, "1 to 255 bytes: ''"),
    "a long name": ([Named("ä" * 128)], ValueError, "1 to 255 bytes"),
    "the same name": ([Gzip(1), Gzip(2)], ValueError, "two coders are called 'gzip'"),
    "the same bit": ([Gzip(), bit(7)], ValueError, "the coders 'gzip' and 'other' use the same bit, 7"),
    "a bit that is none": ([bit(8)], ValueError, "the bit 8: there are bits 0 to 7"),
    "the bit of META": ([bit(1)], ValueError, "has bit 1, which is that of META"),
    "the bit of EMPTY": ([bit(2)], ValueError, "has bit 2, which is that of EMPTY"),
    "a negative overhead": ([Overhead("x")], ValueError, "overhead of the coder 'x'"),
    "a long offer": ([Offering("long")], ValueError, "the offer of the coder 'long' is up to 255 bytes"),
    "an offer that is no bytes": ([Offering("x")], ValueError, "not 'text'"),
    "too many": ([Named(str(n)) for n in range(256)], ValueError, "at most 255 coders, not 256"),
    "a state before": ([Counted(), Gzip()], ValueError, "'gzip' stands after 'Counted', which has a state"),
}


@pytest.mark.parametrize(("coders", "kind", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(coders: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as caught:
        check_coders(coders, Options())
    assert says in str(caught.value)


def test_what_depends_on_the_extensions() -> None:
    assert check_coders([bit(1), bit(2, "two")], BASE)
    with pytest.raises(ValueError, match="META"):
        check_coders([bit(1)], Options(extensions=False, metadata_appender=True))
    with pytest.raises(ValueError, match="'encrypt' needs the Hello, and extensions=False"):
        check_coders([Encrypt(KEYS, "k")], BASE)


async def test_an_endpoint_says_so_at_once() -> None:
    with pytest.raises(ValueError, match="same bit"):
        await arpc.serve("mem://0", arpc.Router(), coders=[Gzip(), bit(7)])
    with pytest.raises(TypeError, match="an object"):
        await arpc.connect("mem://0", coders=[Gzip])  # type: ignore[list-item]  # that is the mistake


@pytest.mark.parametrize("name", arpc_codecs.coders.__all__)
def test_a_coder_is_handed_on(name: str) -> None:
    assert name in arpc.coders.__all__
    assert getattr(arpc.coders, name) is getattr(arpc_codecs.coders, name)
    assert name in dir(arpc_codecs.coders)


@pytest.mark.parametrize("module", [arpc.coders, arpc_codecs.coders], ids=lambda module: module.__name__)
def test_an_unknown_name_is_no_attribute(module: Any) -> None:
    with pytest.raises(AttributeError, match="Missing"):
        _ = module.Missing


@pytest.mark.parametrize(
    ("module", "make", "says"),
    [
        ("zstandard", Zstd, "the zstd coder needs the extra zstd of arpc"),
        ("lz4.frame", Lz4, "the lz4 coder needs the extra lz4 of arpc"),
        ("cryptography.hazmat.primitives.ciphers.aead", lambda: Encrypt(KEYS, "k"), "the extra encrypt of arpc"),
    ],
)
def test_a_library_that_is_missing(
    module: str, make: Callable[[], Coder], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=says):
        make()
