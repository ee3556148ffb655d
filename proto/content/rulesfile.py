"""A rule file, ``content.vdr``: a header that vouches for the bytes, and the rules in MessagePack.

Magic (8 bytes), version and reserved (u32 each), length (u64), SHA-256 of the payload, payload.
Numbers are little-endian. The payload is canonical: the bytes that writing the same rules gives,
so one rule set has one digest. Nothing of it is run; a reader turns any bytes into rules or says
what is wrong.
"""

import hashlib
import struct
from typing import Final

import msgspec

from proto.content.errors import ContentDamaged, ContentNewer, ContentTooLarge
from proto.content.rules import FILE_BYTES_MAX, FORM, RuleSet, check

MAGIC: Final = b"VDRULES\n"
VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sIIQ32s")
_ENCODER: Final = msgspec.msgpack.Encoder()


def written(rules: RuleSet) -> bytes:
    """Return the file that holds some rules.

    Raises:
        ContentDamaged: the rules break the form.
        ContentTooLarge: they pass a limit of it.
    """
    check(rules)
    payload = _ENCODER.encode(rules)
    if len(payload) + _HEADER.size > FILE_BYTES_MAX:
        raise ContentTooLarge(f"a rule file of more than {FILE_BYTES_MAX} bytes")
    digest = hashlib.sha256(payload).digest()
    return _HEADER.pack(MAGIC, VERSION, 0, len(payload), digest) + payload


def is_rule_file(data: bytes) -> bool:
    """Return whether bytes begin as a rule file does, whatever follows."""
    return data.startswith(MAGIC)


def read(data: bytes) -> RuleSet:
    """Return the rules of a file.

    Args:
        data: untrusted.

    Raises:
        ContentDamaged: the bytes are no rule file, or not the ones that were written.
        ContentNewer: the file has a later form than this program reads.
        ContentTooLarge: a limit of the form is passed.
    """
    if len(data) > FILE_BYTES_MAX:
        raise ContentTooLarge(f"a rule file of more than {FILE_BYTES_MAX} bytes")
    if len(data) < _HEADER.size or not is_rule_file(data):
        raise ContentDamaged("not a rule file")
    _, version, reserved, length, digest = _HEADER.unpack_from(data)
    if version > VERSION:
        raise ContentNewer(f"a rule file of version {version}; this program reads {VERSION}")
    payload = data[_HEADER.size :]
    if version != VERSION or reserved or length != len(payload):
        raise ContentDamaged("a rule file with a header that does not fit it")
    if hashlib.sha256(payload).digest() != digest:
        raise ContentDamaged("a rule file whose bytes changed")
    rules = check(_decoded(payload))
    if _ENCODER.encode(rules) != payload:
        raise ContentDamaged("a rule file that is not in canonical form")
    return rules


def _decoded(payload: bytes) -> RuleSet:
    try:
        rules = msgspec.msgpack.decode(payload, type=RuleSet)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # What the decoder says quotes nothing but paths and types of ours.
        raise ContentDamaged(f"a rule file that holds no rules: {error}") from error
    if rules.form > FORM:
        raise ContentNewer(f"rules of form {rules.form}; this program reads {FORM}")
    return rules
