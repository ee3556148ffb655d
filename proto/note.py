"""Signed notes: a text that people and machines read, with Ed25519 signatures below it.

A note is UTF-8 text ending in a newline, an empty line, then one line a signature:
``— <key name> base64(4-byte key id || signature)``. A line of a key we do not know is passed over,
so that witnesses may add theirs and keys may be rotated; a line that names a key we know must
verify.

Source: C2SP signed-note.md v1.0.0.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Protocol

import msgspec

from certs.errors import BadSignature
from proto.envelope import Signer, Verifier
from proto.errors import CheckpointRejected, Malformed, TooLarge

NOTE_SIZE_BYTES_MAX = 128 * 1024
SIGNATURES_MAX = 32
KEY_NAME_SIZE_BYTES_MAX = 256

_ED25519 = b"\x01"
_DASH = "\N{EM DASH} "


class PublicKey(Verifier, Protocol):
    """An Ed25519 public key that shows its bytes."""

    @property
    def raw(self) -> bytes:
        """The 32-byte encoding of RFC 8032."""
        ...


class PrivateKey(Signer, Protocol):
    """An Ed25519 private key that shows its public half."""

    @property
    def public(self) -> PublicKey:
        """The public half."""
        ...


class NoteKey(msgspec.Struct, frozen=True):
    """A public key under the name it signs notes with.

    Args:
        name: for a log's own key, the log's origin.
        key: whose signature it must be.
    """

    name: str
    key: PublicKey

    @property
    def id(self) -> bytes:
        """The 4 bytes that stand before its signatures: a hint, never a proof."""
        return key_id(self.name, self.key.raw)


class NoteSignature(msgspec.Struct, frozen=True):
    """One signature line: whose it says it is, and the bytes."""

    name: str
    key_id: bytes
    signature: bytes


class Note(msgspec.Struct, frozen=True):
    """A note taken apart, nothing in it verified."""

    text: str
    signatures: tuple[NoteSignature, ...]


def key_id(name: str, public: bytes) -> bytes:
    """Return the id of an Ed25519 key under a name."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def decode_base64(text: str) -> bytes:
    """Decode standard base64 in its one canonical spelling.

    Raises:
        Malformed: anything else, stray bits in the last character included.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("a value is not base64") from error
    if encode_base64(data) != text:
        raise Malformed("a value is not canonical base64")
    return data


def encode_base64(data: bytes) -> str:
    """Return standard base64 with padding, on one line."""
    return base64.b64encode(data).decode("ascii")


def sign_note(text: str, name: str, signer: PrivateKey) -> bytes:
    """Return the text as a note with one signature.

    Args:
        text: ends in a newline; holds no other control character.
        name: the name that the key signs under.
        signer: the private key.

    Raises:
        Malformed: text or name cannot stand in a note.
    """
    if not text.endswith("\n") or _has_control_characters(text):
        raise Malformed("the text of a note ends in a newline and holds no control character")
    _check_key_name(name)
    signature = key_id(name, signer.public.raw) + signer.sign(text.encode())
    return f"{text}\n{_DASH}{name} {encode_base64(signature)}\n".encode()


def parse_note(data: bytes) -> Note:
    """Take a note apart without trusting any of it.

    Args:
        data: untrusted bytes.

    Raises:
        TooLarge: over ``NOTE_SIZE_BYTES_MAX`` or ``SIGNATURES_MAX``.
        Malformed: not a signed note.
    """
    if len(data) > NOTE_SIZE_BYTES_MAX:
        raise TooLarge(f"a note of {len(data)} bytes is over {NOTE_SIZE_BYTES_MAX}")
    try:
        note = data.decode()
    except UnicodeDecodeError as error:
        raise Malformed("a note is not UTF-8") from error
    if _has_control_characters(note):
        raise Malformed("a note holds a control character")
    text, blank, below = note.rpartition("\n\n")
    if not blank or not below.endswith("\n"):
        raise Malformed("a note has no signature lines")
    lines = below[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise TooLarge(f"a note has {len(lines)} signatures, more than {SIGNATURES_MAX}")
    return Note(f"{text}\n", tuple(_parse_signature(line) for line in lines))


def open_note(data: bytes, keys: Sequence[NoteKey]) -> str:
    """Return the text of a note that a known key signed.

    Args:
        data: untrusted bytes.
        keys: the keys whose word counts; every line that names one of them must verify.

    Raises:
        TooLarge: as ``parse_note``.
        Malformed: as ``parse_note``.
        CheckpointRejected: no known key signed it, or a line in the name of one does not verify.
    """
    note = parse_note(data)
    known = {(key.name, key.id): key.key for key in keys}
    text, verified = note.text.encode(), False
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is None:
            continue
        try:
            key.verify(line.signature, text)
        except BadSignature as error:
            raise CheckpointRejected(f"the signature of {line.name!r} does not verify") from error
        verified = True
    if not verified:
        raise CheckpointRejected(
            "no key that is trusted signed it", hint="is this the trust file of that log?"
        )
    return note.text


def _parse_signature(line: str) -> NoteSignature:
    if not line.startswith(_DASH):
        raise Malformed("a signature line does not begin with a dash")
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    _check_key_name(name)
    data = decode_base64(encoded)
    if not space or len(data) < 5:
        raise Malformed("a signature line has no signature")
    return NoteSignature(name, data[:4], data[4:])


def _check_key_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() for character in name):
        raise Malformed("a key name is empty or holds a space or a plus")
    if len(name.encode(errors="surrogatepass")) > KEY_NAME_SIZE_BYTES_MAX:
        raise Malformed(f"a key name is over {KEY_NAME_SIZE_BYTES_MAX} bytes")


def _has_control_characters(text: str) -> bool:
    return any(character < " " and character != "\n" for character in text)
