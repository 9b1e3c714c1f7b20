"""Encryption: what a connection's other side alone can read, once, and in order."""

from __future__ import annotations

from os import urandom
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from arpc.coders import Coder, Encrypt
from arpc.errors import RemoteProtocolError
from arpc.frame import CODED, NOTIFY, REQUEST, encode

LIMIT = 1 << 20
OLD, NEW = urandom(32), urandom(32)
FRAME = encode(REQUEST, 0, 5, b"/secret", b"body")
UNREADABLE = "a frame cannot be decrypted: it was changed, repeated or left out on its way"


def linked(dialler: Encrypt, acceptor: Encrypt) -> tuple[Coder, Coder]:
    """The coders of the two ends of a connection, when each has heard the other's Hello."""
    one, two = dialler.start(), acceptor.start()
    one.accept(two.offer(), dialled=True)
    two.accept(one.offer(), dialled=False)
    return one, two


def pair(**options: Any) -> tuple[Coder, Coder]:
    return linked(Encrypt({"old": OLD}, "old", **options), Encrypt({"old": OLD}, "old", **options))


def through(one: Coder, two: Coder, frame: bytes = FRAME) -> bytes:
    return two.decode(one.encode(frame, {}), {}, LIMIT)


def unreadable(coder: Coder, frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=UNREADABLE):
        coder.decode(frame, {}, LIMIT)


@given(st.binary(max_size=300), st.integers(0, 255))
def test_both_directions(body: bytes, reserved: int) -> None:
    one, two = pair()
    frame = encode(NOTIFY, 2, 7, b"/n", body, reserved)
    for _ in range(2):
        assert through(one, two, frame) == frame
        assert through(two, one, frame) == frame


def test_nothing_of_a_frame_can_be_read() -> None:
    one, _ = pair()
    first, second = one.encode(FRAME, {}), one.encode(FRAME, {})
    assert first[4:6] == second[4:6] == bytes((1 << 3, CODED))
    assert len(first) == len(FRAME) + Encrypt.overhead
    assert int.from_bytes(first[:4], "little") == len(first) - 16
    assert b"secret" not in first
    assert first[6:] != second[6:]


def test_the_keys_are_those_that_the_documentation_says() -> None:
    """HKDF-Expand with SHA-256, by another implementation."""
    one, two = pair()
    offers = bytes((len(one.offer()),)) + one.offer() + two.offer()
    key = HKDFExpand(SHA256(), 32, b"arpc encrypt 1 dialled" + offers).derive(OLD)
    coded = one.encode(FRAME, {})
    assert AESGCM(key).decrypt(bytes(12), coded[6:], coded[:6]) == FRAME[4:]
    coded = one.encode(FRAME, {})
    assert AESGCM(key).decrypt((1).to_bytes(12, "big"), coded[6:], coded[:6]) == FRAME[4:]


# --- what an attacker may do


def test_a_repeated_frame_is_refused() -> None:
    one, two = pair()
    coded = one.encode(FRAME, {})
    assert two.decode(coded, {}, LIMIT) == FRAME
    unreadable(two, coded)


def test_a_frame_that_was_left_out_is_noticed() -> None:
    one, two = pair()
    one.encode(FRAME, {})
    unreadable(two, one.encode(FRAME, {}))


def test_frames_in_another_order_are_refused() -> None:
    one, two = pair()
    first, second = one.encode(FRAME, {}), one.encode(FRAME, {})
    unreadable(two, second)
    assert two.decode(first, {}, LIMIT) == FRAME  # it was not counted


@pytest.mark.parametrize("at", range(len(FRAME) + Encrypt.overhead))
def test_a_changed_bit_is_noticed(at: int) -> None:
    one, two = pair()
    coded = bytearray(one.encode(FRAME, {}))
    coded[at] ^= 1
    unreadable(two, bytes(coded))


def test_a_frame_that_is_not_encrypted_is_refused() -> None:
    _, two = pair()
    with pytest.raises(RemoteProtocolError, match="a frame is not encrypted"):
        two.decode(FRAME, {}, LIMIT)


def test_a_frame_sent_back_is_refused() -> None:
    one, _ = pair()
    unreadable(one, one.encode(FRAME, {}))


def test_a_frame_of_another_connection_is_refused() -> None:
    one, _ = pair()
    _, other = pair()
    unreadable(other, one.encode(FRAME, {}))


def test_a_hello_sent_back_is_refused() -> None:
    coder = Encrypt({"old": OLD}, "old").start()
    with pytest.raises(RemoteProtocolError, match="sends back what this side has said"):
        coder.accept(coder.offer(), dialled=True)


def test_a_hello_that_was_recorded_gives_no_keys() -> None:
    """Whoever repeats the Hello of another connection, and its frames, is not understood: this side's salt is new."""
    old, server = pair()
    recorded, coded = old.offer(), old.encode(FRAME, {})
    assert server.decode(coded, {}, LIMIT) == FRAME
    again = Encrypt({"old": OLD}, "old").start()
    again.accept(recorded, dialled=False)
    unreadable(again, coded)


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    _, two = pair()
    frame = len(data + bytes(10)).to_bytes(4, "little") + bytes((8, CODED)) + bytes(10) + data
    unreadable(two, frame)


# --- keys


def test_rotation() -> None:
    """The new key is given to all, then used by one after the other, then the old one is taken away."""
    before, both, switched, after = (
        Encrypt({"old": OLD}, "old"),
        Encrypt({"old": OLD, "new": NEW}, "old"),
        Encrypt({"old": OLD, "new": NEW}, "new"),
        Encrypt({"new": NEW}, "new"),
    )
    for dialler, acceptor in (
        (before, both),
        (both, before),
        (both, switched),
        (switched, switched),
        (switched, after),
    ):
        one, two = linked(dialler, acceptor)
        assert through(one, two) == through(two, one) == FRAME


def test_a_key_that_this_side_has_not() -> None:
    one, two = Encrypt({"new": NEW}, "new").start(), Encrypt({"old": OLD, "older": NEW}, "old").start()
    with pytest.raises(RemoteProtocolError, match="with the key 'new', which this side has not: it has 'old', 'older'"):
        two.accept(one.offer(), dialled=False)


def test_another_key_of_the_same_id() -> None:
    one, two = Encrypt({"k": NEW}, "k").start(), Encrypt({"k": OLD}, "k").start()
    for coder, offer, dialled in ((one, two.offer(), True), (two, one.offer(), False)):
        with pytest.raises(RemoteProtocolError) as caught:
            coder.accept(offer, dialled=dialled)
        assert str(caught.value) == "the other side has another key 'k' than this side"


def test_no_key_is_ever_shown() -> None:
    coder = Encrypt({"k": OLD}, "k")
    shown = repr(coder) + repr(coder.start()) + repr(coder.start().offer())
    assert repr(coder) == "Encrypt(keys=['k'], use='k')"
    assert OLD.hex() not in shown
    assert repr(OLD)[2:-1] not in shown
    assert OLD not in coder.start().offer()


@pytest.mark.parametrize("offer", [b"", bytes(16), bytes(36), b"x" * 32 + bytes(4) + b"k"])
def test_a_hello_that_says_nothing(offer: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="says nothing about the key"):
        Encrypt({"k": OLD}, "k").start().accept(offer, dialled=True)


@pytest.mark.parametrize("id", [b"\xff", b"\0", b"old"])
def test_ids_that_make_no_sense(id: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Encrypt({"old": OLD}, "old").start().accept(b"x" * 36 + id, dialled=True)


# --- a new key after some frames


@pytest.mark.parametrize("rekey", [1, 3])
def test_keys_are_renewed(rekey: int) -> None:
    one, two = pair(rekey=rekey)
    coded = [one.encode(FRAME, {}) for _ in range(4 * rekey + 1)]
    assert len({frame[6:] for frame in coded}) == len(coded)
    assert [two.decode(frame, {}, LIMIT) for frame in coded] == [FRAME] * len(coded)
    unreadable(two, coded[0])  # the same number, and another key
    assert through(two, one) == FRAME


def test_each_direction_has_its_own_number() -> None:
    keys = {"k": OLD}
    one, two = linked(Encrypt(keys, "k", rekey=2), Encrypt(keys, "k", rekey=3))
    for _ in range(7):
        assert through(one, two) == through(two, one) == FRAME


MISTAKES: list[tuple[Any, Any, dict[str, Any], str]] = [
    ({}, "k", {}, "none of the keys: there are none"),
    ({"a": OLD}, "k", {}, "use='k' is none of the keys: 'a'"),
    ({"k": b"short"}, "k", {}, "the key 'k' has 32 random bytes"),
    ({"k": "x" * 32}, "k", {}, "the key 'k' has 32 random bytes"),
    ({"": OLD}, "", {}, "the id of a key has 1 to 219 bytes"),
    ({"x" * 220: OLD}, "k", {}, "the id of a key has 1 to 219 bytes"),
    ({"k": OLD}, "k", {"rekey": 0}, "rekey is a whole number from 1"),
]


@pytest.mark.parametrize(("keys", "use", "options", "says"), MISTAKES)
def test_options_that_make_no_sense(keys: Any, use: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as caught:
        Encrypt(keys, use, **options)
    assert says in str(caught.value)
    assert "short" not in str(caught.value)
