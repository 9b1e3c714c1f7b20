"""numpy arrays: sent from where they are, read where they have arrived; what cannot be is refused before."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import arpc
from arpc.bodies import body_decoder
from arpc_codecs import CborCodec, JsonCodec, MsgpackCodec, RawCodec

codec = RawCodec()

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]
FOREIGN = ">" if sys.byteorder == "little" else "<"


@pytest.mark.parametrize("dtype", DTYPES)
def test_there_and_back(dtype: str) -> None:
    values = np.arange(6).astype(dtype)
    body = codec.encode(values.reshape(2, 3))
    assert isinstance(body, memoryview)
    assert body == values.tobytes()
    items: Any = values.dtype.type
    back = codec.decoder(NDArray[items])(bytes(body))
    assert back.dtype == values.dtype
    assert back.tolist() == values.tolist()
    assert not back.flags.writeable


def test_nothing_is_copied() -> None:
    values = np.zeros((4, 4), np.float32)
    assert np.shares_memory(np.frombuffer(codec.encode(values), np.uint8), values)
    body = values.tobytes()
    assert np.shares_memory(codec.decoder(NDArray[np.float32])(body), np.frombuffer(body, np.uint8))


@pytest.mark.parametrize("view", [lambda a: a.T, lambda a: a[:, ::2], lambda a: a[::-1], np.asfortranarray])
def test_other_orders_are_copied_into_c_order(view: Any) -> None:
    values = view(np.arange(12, dtype=np.int32).reshape(3, 4))
    assert bytes(codec.encode(values)) == values.tobytes()


@pytest.mark.parametrize("values", [np.float32(1.5), np.array(1.5), np.zeros(0), np.zeros((0, 3))], ids=repr)
def test_scalars_and_empty_arrays(values: Any) -> None:
    assert bytes(codec.encode(values)) == values.tobytes()


def test_records_and_texts_travel_as_their_bytes() -> None:
    for values in (np.zeros(2, [("a", "f4"), ("b", "i8")]), np.array([b"ab", b"c"]), np.array(["ä", "b"])):
        assert bytes(codec.encode(values)) == values.tobytes()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([object()]), "sends no Python objects"),
        (np.zeros(2, [("a", "O")]), "sends no Python objects"),
        (np.zeros(2, FOREIGN + "f4"), r"in the order of this machine \(\w+-endian\): convert them"),
        (np.zeros(2, [("a", FOREIGN + "i4")]), "in the order of this machine"),
        (np.zeros(2, "M8[s]"), r"cannot send this array .*: view its items as numbers, as in array.view\('i8'\)"),
    ],
    ids=["objects", "objects in records", "other order", "other order in records", "times"],
)
def test_what_means_nothing_elsewhere_is_refused(values: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        codec.encode(values)


def test_a_body_that_is_no_whole_number_of_items() -> None:
    decode = body_decoder(codec, NDArray[np.float32])
    assert decode(b"").tolist() == []
    with pytest.raises(arpc.DecodeError, match="10 bytes are no whole number of float32 items, of 4 bytes each"):
        decode(bytes(10))


@pytest.mark.parametrize(
    "type",
    [
        np.ndarray,
        NDArray,
        NDArray[np.object_],
        NDArray[np.floating],
        NDArray[np.str_],
        NDArray[np.void],
        NDArray[np.datetime64],
        np.ndarray[tuple[int, int], np.dtype[np.float32]],
        np.ndarray[Any, Any],
    ],
    ids=str,
)
def test_types_that_do_not_say_what_to_make(type: Any) -> None:
    with pytest.raises(TypeError, match=r"name the numbers that are its items, .*as in numpy.typing.NDArray"):
        codec.decoder(type)


def test_one_dimension_may_be_said() -> None:
    decode = codec.decoder(np.ndarray[tuple[int], np.dtype[np.int16]])
    assert decode(bytes(4)).shape == (2,)


@pytest.mark.parametrize("other", [JsonCodec(), MsgpackCodec(), CborCodec()], ids=lambda other: other.name)
@pytest.mark.parametrize("type", [np.ndarray, NDArray[np.float32], list[NDArray[np.float32]]], ids=str)
def test_other_codecs_say_what_to_do(other: Any, type: Any) -> None:
    with pytest.raises(TypeError, match=r"arrays travel with the raw codec only .*array.tolist\(\)"):
        other.decoder(type)


def test_a_handler_is_refused_when_it_is_served() -> None:
    router = arpc.Router()

    @router.handle("/sum")
    async def sum_of(values: np.ndarray) -> float:
        return float(values.sum())

    async def serve() -> None:
        await arpc.serve("mem://0", router, codec="raw")

    with pytest.raises(arpc.RegistrationError, match="name the numbers that are its items"):
        arpc.run(serve())


def test_who_does_not_import_numpy_does_not_pay() -> None:
    program = """
import sys
from arpc_codecs import RawCodec

codec = RawCodec()
assert codec.decoder(memoryview)(codec.encode(bytearray(b"ab"))) == b"ab"
assert "numpy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
