"""Ed25519, and nothing else: every host pays for what is imported here.

The library behind it is loaded by the first signature made or verified. The agent's networked half
only names keys, and so never pays the 6 MiB.

A key that verifies more than its owner signed is refused when it is made, not when it is used:
points of small order (a signature under one verifies almost anything) and encodings of a number
that is not reduced (two spellings of one key would be two key ids).

Source: RFC 8032 section 5.1.3 and 5.1.7.
"""

# ruff: noqa: PLC0415  (as above)

import hashlib
from typing import TYPE_CHECKING, Self

from certs.errors import BadSignature, KeyUnusable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

KEY_BYTES = 32
SIGNATURE_BYTES = 64

_KEY_ID_CONTEXT = b"vedette.key-id.v1\0"
_FIELD_PRIME = 2**255 - 19
_Y_MASK = 2**255 - 1
# The y of every point of order 1, 2, 4 and 8 on the curve.
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _FIELD_PRIME - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)


class VerifyKey:
    """Whose signature it must be.

    Args:
        raw: the 32-byte encoding of RFC 8032.

    Raises:
        KeyUnusable: not 32 bytes, not reduced, or of small order.
    """

    __slots__ = ("_key", "raw")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise KeyUnusable(f"an Ed25519 public key has 32 bytes, this one {len(raw)}")
        y = int.from_bytes(raw, "little") & _Y_MASK
        if y >= _FIELD_PRIME:
            raise KeyUnusable("the Ed25519 public key is not in its canonical form")
        if y in _SMALL_ORDER_Y:
            raise KeyUnusable("the Ed25519 public key has a small order")
        self.raw = bytes(raw)
        self._key: Ed25519PublicKey | None = None

    @property
    def key_id(self) -> bytes:
        """SHA-256 of the key under our own prefix: what headers and receipts name it by."""
        return hashlib.sha256(_KEY_ID_CONTEXT + self.raw).digest()

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return if ``signature`` is this key's over exactly ``data``.

        Raises:
            BadSignature: it is not.
        """
        from cryptography.exceptions import InvalidSignature

        key = self._key or self._native()
        try:
            key.verify(signature, data)
        except InvalidSignature as error:
            raise BadSignature("the signature does not verify") from error

    def _native(self) -> "Ed25519PublicKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        self._key = Ed25519PublicKey.from_public_bytes(self.raw)
        return self._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"VerifyKey({self.raw.hex()})"


class SigningKey:
    """A private key; it prints as its public half only."""

    __slots__ = ("_key", "public")

    def __init__(self, key: "Ed25519PrivateKey") -> None:
        self._key = key
        self.public = VerifyKey(key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> Self:
        """Return a new key from the system's randomness."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_private_bytes(cls, raw: bytes) -> Self:
        """Return the key whose 32-byte seed this is.

        Raises:
            KeyUnusable: not 32 bytes.
        """
        if len(raw) != KEY_BYTES:
            raise KeyUnusable(f"an Ed25519 private key has 32 bytes, this one {len(raw)}")
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature over ``data``."""
        return self._key.sign(data)

    def private_bytes(self) -> bytes:
        """Return the 32-byte seed, for the keyring alone."""
        return self._key.private_bytes_raw()

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.raw.hex()})"
