"""Lock a secret so that whoever locks it cannot open it, nor put it in another's place.

AES-256-GCM under a data key of its own, with lab, field and version as associated data. The data
key is wrapped for the master key's public half (X25519, HKDF-SHA-256, AES-256-GCM, the same
associated data); the master key itself is needed to open. Pure; nothing here is ever logged.
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY, NONCE = 32, 12  # bytes
MASTER, WRAP = b"kinora master key of labs' secrets", b"kinora data key of a lab's secret"


class VaultError(Exception):
    """A secret that cannot be locked or opened. The message names the secret, never its text."""


class NoKey(VaultError):
    """The master key that the secret was locked for is not among those at hand."""


class Tampered(VaultError):
    """The key is at hand, and the row is not what was locked: changed, or another's."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a secret is bound to."""

    lab: str
    field: str
    version: int

    def __str__(self) -> str:
        return f"{self.lab} {self.field} {self.version}"

    def bound(self) -> bytes:
        return json.dumps([self.lab, self.field, self.version]).encode()


@dataclass(frozen=True, slots=True)
class Envelope:
    """sealed: nonce and ciphertext. wrapped: our passing public key, nonce, the locked data key."""

    sealed: bytes
    wrapped: bytes
    master: str


class PublicKey:
    """The half of a master key that locks."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.fingerprint = hashlib.sha256(raw).hexdigest()[:16]

    @classmethod
    def read(cls, text: str) -> "PublicKey":
        """Raises VaultError."""
        return cls(decoded(text, "the public half of the master key"))

    def text(self) -> str:
        return base64.urlsafe_b64encode(self.raw).rstrip(b"=").decode()

    def wrap(self, data_key: bytes, name: Name) -> bytes:
        passing = X25519PrivateKey.generate()
        shared = passing.exchange(X25519PublicKey.from_public_bytes(self.raw))
        mine = passing.public_key().public_bytes_raw()
        return mine + encrypt(derived(shared, WRAP + mine + self.raw), data_key, name)


class MasterKey:
    """32 bytes as base64url. Has no text to print: what it is, stays here."""

    def __init__(self, text: str) -> None:
        """Raises VaultError."""
        seed = decoded(text, "a master key")
        self._private = X25519PrivateKey.from_private_bytes(derived(seed, MASTER))
        self.public = PublicKey(self._private.public_key().public_bytes_raw())

    def unwrap(self, wrapped: bytes, name: Name) -> bytes:
        """Raises Tampered."""
        theirs, locked = wrapped[:KEY], wrapped[KEY:]
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(theirs))
        except ValueError:
            raise Tampered(f"The key of {name} is broken.") from None
        return decrypt(derived(shared, WRAP + theirs + self.public.raw), locked, name)


def seal(secret: str, name: Name, key: PublicKey) -> Envelope:
    data_key = AESGCM.generate_key(bit_length=256)
    return Envelope(
        encrypt(data_key, secret.encode(), name), key.wrap(data_key, name), key.fingerprint
    )


def unseal(found: Envelope, name: Name, keys: Sequence[MasterKey]) -> str:
    """Raises NoKey, Tampered."""
    data_key = fitting(found, name, keys).unwrap(found.wrapped, name)
    return decrypt(data_key, found.sealed, name).decode()


def rewrap(found: Envelope, name: Name, keys: Sequence[MasterKey], to: PublicKey) -> Envelope:
    """The same secret for another master key; its own ciphertext stays. Raises NoKey, Tampered."""
    data_key = fitting(found, name, keys).unwrap(found.wrapped, name)
    decrypt(data_key, found.sealed, name)  # what cannot be opened is not carried on
    return Envelope(found.sealed, to.wrap(data_key, name), to.fingerprint)


def fitting(found: Envelope, name: Name, keys: Sequence[MasterKey]) -> MasterKey:
    for key in keys:
        if key.public.fingerprint == found.master:
            return key
    known = ", ".join(key.public.fingerprint for key in keys) or "none"
    raise NoKey(f"{name} is locked for the master key {found.master}; at hand: {known}.")


def encrypt(key: bytes, plain: bytes, name: Name) -> bytes:
    nonce = os.urandom(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, name.bound())


def decrypt(key: bytes, locked: bytes, name: Name) -> bytes:
    try:
        return AESGCM(key).decrypt(locked[:NONCE], locked[NONCE:], name.bound())
    except (InvalidTag, ValueError):
        raise Tampered(f"{name} is not what was locked under that name.") from None


def derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY, salt=None, info=purpose).derive(secret)


def decoded(text: str, what: str) -> bytes:
    try:
        found = base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != KEY:
        raise VaultError(f"{what} must be {KEY} bytes as base64url, 43 characters.")
    return found
