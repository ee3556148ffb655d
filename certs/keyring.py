"""Private keys at rest: one file each, 0600, replaced whole, refused when anyone else can read it.

An Ed25519 key is stored as PKCS #8 PEM, which every tool can read. Its DER is a constant and the
32-byte seed, so it is written and read here without a certificate library: the process that signs
never loads one.

Source: RFC 8410 section 7; RFC 5958.
"""

import base64
import binascii
import os
import stat
from pathlib import Path

from certs.errors import KeyUnusable
from certs.signatures import KEY_BYTES, SigningKey
from runtime.files import write_atomic

KEY_FILE_BYTES_MAX = 4096

_ED25519_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")
_PEM_BEGIN = b"-----BEGIN PRIVATE KEY-----\n"
_PEM_END = b"\n-----END PRIVATE KEY-----\n"


def read_key_file(path: Path) -> bytes:
    """Return the content of a private key file that only this user can read.

    Raises:
        KeyUnusable: missing, not a regular file, owned by another user, open to group or others,
            or larger than a key.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeyUnusable(
            f"cannot open the key {path}: {error.strerror}",
            hint="run as the user that owns it; a lost key means enrolling again",
        ) from error
    try:
        _check_private(path, os.fstat(fd))
        data = os.read(fd, KEY_FILE_BYTES_MAX + 1)
    finally:
        os.close(fd)
    if len(data) > KEY_FILE_BYTES_MAX:
        raise KeyUnusable(f"{path} is too large for a key")
    return data


def write_key_file(path: Path, data: bytes) -> None:
    """Replace a private key file; a crash leaves the old key or the new one.

    Raises:
        KeyUnusable: it cannot be made durable; the old key is untouched.
    """
    try:
        write_atomic(path, data, mode=0o600)
    except OSError as error:
        raise KeyUnusable(
            f"cannot write the key {path}: {error.strerror}",
            hint="its directory must exist, be writable by this user and have space",
        ) from error


def load_signing_key(path: Path) -> SigningKey:
    """Return the Ed25519 key in ``path``.

    Raises:
        KeyUnusable: the file is exposed, missing, or not one Ed25519 key.
    """
    return signing_key_from_pem(read_key_file(path))


def save_signing_key(path: Path, key: SigningKey) -> None:
    """Write the Ed25519 key to ``path``.

    Raises:
        KeyUnusable: it cannot be made durable.
    """
    write_key_file(path, signing_key_to_pem(key))


def ensure_signing_key(path: Path) -> SigningKey:
    """Return the key in ``path``, made now where there is none.

    The caller holds its daemon's lock: two makers at once would each believe in a key of their own.

    Raises:
        KeyUnusable: a file is there and is no good, or a new one cannot be written.
    """
    if os.path.lexists(path):
        return load_signing_key(path)
    key = SigningKey.generate()
    save_signing_key(path, key)
    return key


def signing_key_to_pem(key: SigningKey) -> bytes:
    """Return the key as PKCS #8 PEM."""
    return _PEM_BEGIN + base64.b64encode(_ED25519_PKCS8 + key.private_bytes()) + _PEM_END


def signing_key_from_pem(pem: bytes) -> SigningKey:
    """Return the key in one PKCS #8 PEM block of exactly the form we write.

    Raises:
        KeyUnusable: anything else, an encrypted or another kind of key included.
    """
    if not (pem.startswith(_PEM_BEGIN) and pem.endswith(_PEM_END)):
        raise KeyUnusable("not a PEM private key")
    try:
        der = base64.b64decode(pem[len(_PEM_BEGIN) : -len(_PEM_END)], validate=True)
    except binascii.Error as error:
        raise KeyUnusable("the PEM of the private key is damaged") from error
    if not der.startswith(_ED25519_PKCS8) or len(der) != len(_ED25519_PKCS8) + KEY_BYTES:
        raise KeyUnusable("the private key is not an Ed25519 key")
    return SigningKey.from_private_bytes(der[len(_ED25519_PKCS8) :])


def _check_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeyUnusable(f"{path} is not a regular file")
    if found.st_uid != os.geteuid():
        raise KeyUnusable(
            f"the key {path} belongs to user {found.st_uid}, not to {os.geteuid()}",
            hint=f"run as its owner, or if it was copied here: chown {os.geteuid()} {path}",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise KeyUnusable(
            f"the key {path} is open to others (mode {stat.S_IMODE(found.st_mode):04o})",
            hint=f"if nobody read it: chmod 600 {path}; else replace the key",
        )
