"""Encryption with keys that both sides have beforehand. Needs the extra ``encrypt``, loaded when a coder is made."""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest, digest
from os import urandom
from typing import Any, cast

from arpc.coders import Coder
from arpc.errors import RemoteProtocolError
from arpc.frame import CODED, HEADER_SIZE

from .compressor import check_number

__all__ = ["Encrypt"]

BIT = 3
FLAG = 1 << BIT
KEY = 32
SALT = 16
PROOF = 16
COUNT = 4
FIXED = SALT + PROOF + COUNT
"""Bytes of an offer before the key's id."""

TAG = 16
HEAD = 6
"""Bytes of a frame that stay readable: its length, its bits, and 0x1f."""

FIELD = b"arpc encrypt 1 "


class Encrypt(Coder):
    """AES-256-GCM on every frame, with pre-shared keys. An example of a serious coder; where you can, use TLS.

    ``keys``: 32 random bytes by the id of each key; ``use``: the id of the one that this side sends with. To rotate,
    give the new key to all sides, then let each ``use`` it, then take the old one away. ``rekey``: frames that this
    side sends until it goes on with a new key, made of the old one.

    What it gives: nobody without a key can read a frame, nor change, repeat, reorder or leave out one, or send it to
    another connection, without being found out: the connection is closed with an error. Method, command and number are
    hidden, too.

    What it does not give: forward secrecy (whoever gets a key later reads what was recorded before), or names (it shows
    that the other side has a key, not who it is). Length and time of frames are seen, and so are pings and the Hello,
    which anybody on the way can change: then less is used (META, ``max_body``), but this coder is not left out.

    Making it raises ValueError for keys, and ImportError if cryptography isn't installed.
    """

    name = "encrypt"
    bit = BIT
    required = True
    needs_hello = True
    hides_method = True
    overhead = HEAD - 4 + TAG

    def __init__(self, keys: Mapping[str, bytes], use: str, *, rekey: int = 1 << 20) -> None:
        for id, key in keys.items():
            if not 0 < len(id.encode()) <= 255 - FIXED:
                raise ValueError(f"the id of a key has 1 to {255 - FIXED} bytes: {id!r}")
            if not isinstance(cast(object, key), bytes) or len(key) != KEY:
                raise ValueError(f"the key {id!r} has {KEY} random bytes, such as os.urandom({KEY})")
        if use not in keys:
            raise ValueError(f"use={use!r} is none of the keys: {', '.join(map(repr, keys)) or 'there are none'}")
        check_number("rekey", rekey, 1, (1 << 32) - 1)
        _aes()
        self._keys = dict(keys)
        self.use = use
        self.rekey = rekey
        salt = urandom(SALT)
        self._offer = salt + _proof(keys[use], salt) + rekey.to_bytes(COUNT, "little") + use.encode()
        self._sends: Direction
        self._receives: Direction

    def __repr__(self) -> str:
        return f"Encrypt(keys={list(self._keys)}, use={self.use!r})"

    def start(self) -> Encrypt:
        """The coder of one connection: its salt, a key for each direction, and how many frames have gone through."""
        return Encrypt(self._keys, self.use, rekey=self.rekey)

    def offer(self) -> bytes:
        """A salt of this connection, a proof that goes with the key, after how many frames that changes, its id."""
        return self._offer

    def accept(self, offer: bytes, *, dialled: bool) -> None:
        rekey = int.from_bytes(offer[SALT + PROOF : FIXED], "little")
        if len(offer) <= FIXED or not rekey:
            raise RemoteProtocolError("the Hello says nothing about the key that the other side encrypts with")
        salt, proof = offer[:SALT], offer[SALT : SALT + PROOF]
        id = offer[FIXED:].decode("utf-8", "replace")
        if id not in self._keys:
            known = ", ".join(map(repr, self._keys))
            raise RemoteProtocolError(
                f"the other side encrypts with the key {id!r}, which this side has not: it has {known}"
            )
        theirs = self._keys[id]
        if not compare_digest(proof, _proof(theirs, salt)):
            raise RemoteProtocolError(f"the other side has another key {id!r} than this side")
        if offer == self._offer:
            raise RemoteProtocolError("the other side sends back what this side has said")
        first, second = (self._offer, offer) if dialled else (offer, self._offer)
        both = bytes((len(first),)) + first + second
        out, back = (b"dialled", b"accepted") if dialled else (b"accepted", b"dialled")
        self._sends = Direction(_derive(self._keys[self.use], out + both), self.rekey)
        self._receives = Direction(_derive(theirs, back + both), rekey)

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        length = len(frame) + self.overhead - HEADER_SIZE
        head = length.to_bytes(4, "little") + bytes((FLAG, CODED))
        return head + self._sends.seal(frame[4:], head)

    def decode(self, frame: bytes, values: dict[str, Any], limit: int) -> bytes:
        if not frame[4] & FLAG:
            raise RemoteProtocolError("a frame is not encrypted, and every frame has to be")
        try:
            plain = self._receives.open(frame[HEAD:], frame[:HEAD])
        except Exception:  # whatever the library has to say must not help to find a key
            raise RemoteProtocolError(
                "a frame cannot be decrypted: it was changed, repeated or left out on its way"
            ) from None
        return (4 + len(plain) - HEADER_SIZE).to_bytes(4, "little") + plain


class Direction:
    """The frames of one direction: each has its number, so each must come once, and in order."""

    def __init__(self, key: bytes, rekey: int) -> None:
        self._key = key
        self._rekey = rekey
        self._number = 0
        self._cipher: Any = _aes()(key)

    def seal(self, plain: bytes, head: bytes) -> bytes:
        sealed: bytes = self._cipher.encrypt(self._nonce(), plain, head)
        self._count()
        return sealed

    def open(self, sealed: bytes, head: bytes) -> bytes:
        plain: bytes = self._cipher.decrypt(self._nonce(), sealed, head)
        self._count()
        return plain

    def _nonce(self) -> bytes:
        return self._number.to_bytes(12, "big")

    def _count(self) -> None:
        self._number += 1
        if self._number == self._rekey:
            self._key = _derive(self._key, b"next")
            self._number = 0
            self._cipher = _aes()(self._key)


def _derive(key: bytes, about: bytes) -> bytes:
    """A key for one purpose. HKDF-SHA256 (RFC 5869) of a key that is random already: its second step, one block."""
    return digest(key, FIELD + about + b"\x01", "sha256")


def _proof(key: bytes, salt: bytes) -> bytes:
    """What only somebody with the key can say about a salt. It tells nothing about keys of other purposes."""
    return _derive(key, b"proof" + salt)[:PROOF]


def _aes() -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        text = "the encrypt coder needs the extra encrypt of arpc, or else: pip install cryptography"
        raise ImportError(text, name=error.name) from error
    return AESGCM
