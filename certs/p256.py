"""ECDSA on P-256 with SHA-256: the keys of TLS and of certificate authorities, and of others' DSSE.

Source: FIPS 186-5; RFC 5480 (named curve only); RFC 3279 section 2.2.3 (DER signatures).
"""

import hashlib
import os
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from certs.errors import BadSignature, KeyUnusable
from certs.keyring import read_key_file, write_key_file

SPKI_BYTES = 91

_ALGORITHM = ec.ECDSA(SHA256())


class P256VerifyKey:
    """The public half: whose signature it must be."""

    __slots__ = ("native", "spki")

    def __init__(self, native: ec.EllipticCurvePublicKey) -> None:
        self.native = native
        self.spki = native.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @classmethod
    def from_spki(cls, der: bytes) -> Self:
        """Return the key in a DER SubjectPublicKeyInfo of exactly one form.

        Args:
            der: untrusted bytes; a named curve and an uncompressed point make 91 of them.

        Raises:
            KeyUnusable: another algorithm, curve, point form or length.
        """
        if len(der) != SPKI_BYTES:
            raise KeyUnusable("not a P-256 public key in its canonical form")
        try:
            native = load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyUnusable("not a public key") from error
        if not isinstance(native, ec.EllipticCurvePublicKey) or not is_p256(native):
            raise KeyUnusable("the public key is not on P-256")
        key = cls(native)
        if key.spki != der:
            raise KeyUnusable("the P-256 public key is not in its canonical form")
        return key

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo."""
        return hashlib.sha256(self.spki).digest()

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return if ``signature`` (DER) is this key's over exactly ``data``.

        Raises:
            BadSignature: it is not.
        """
        try:
            self.native.verify(signature, data, _ALGORITHM)
        except InvalidSignature as error:
            raise BadSignature("the signature does not verify") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, P256VerifyKey) and other.spki == self.spki

    def __hash__(self) -> int:
        return hash(self.spki)

    def __repr__(self) -> str:
        return f"P256VerifyKey({self.fingerprint.hex()})"


class P256Key:
    """A private key; it prints as its public half only."""

    __slots__ = ("native", "public")

    def __init__(self, native: ec.EllipticCurvePrivateKey) -> None:
        self.native = native
        self.public = P256VerifyKey(native.public_key())

    @classmethod
    def generate(cls) -> Self:
        """Return a new key from the system's randomness."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Return the key in an unencrypted PEM private key.

        Raises:
            KeyUnusable: anything else.
        """
        try:
            native = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyUnusable("not an unencrypted PEM private key") from error
        if not isinstance(native, ec.EllipticCurvePrivateKey) or not is_p256(native):
            raise KeyUnusable("the private key is not on P-256")
        return cls(native)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the key in a private key file.

        Raises:
            KeyUnusable: the file is exposed, missing, or not one P-256 key.
        """
        return cls.from_pem(read_key_file(path))

    @classmethod
    def ensure(cls, path: Path) -> Self:
        """Return the key in ``path``, made now where there is none (under the daemon's lock).

        Raises:
            KeyUnusable: a file is there and is no good, or a new one cannot be written.
        """
        if os.path.lexists(path):
            return cls.load(path)
        key = cls.generate()
        key.save(path)
        return key

    def save(self, path: Path) -> None:
        """Write the key to a private file, whole or not at all.

        Raises:
            KeyUnusable: it cannot be made durable.
        """
        write_key_file(path, self.to_pem())

    def to_pem(self) -> bytes:
        """Return the key as PKCS #8 PEM, for the keyring and TLS alone."""
        return self.native.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, data: bytes) -> bytes:
        """Return a DER signature over ``data``."""
        return self.native.sign(data, _ALGORITHM)

    def __repr__(self) -> str:
        return f"P256Key(public={self.public.fingerprint.hex()})"


def is_p256(key: ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) -> bool:
    """Whether the key is on P-256."""
    return isinstance(key.curve, ec.SECP256R1)
