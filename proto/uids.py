"""Names for statements and for things found, derived by anyone who holds the facts.

Both are UUIDv8 (RFC 9562, section 5.8) over a SHA-256 with its own domain label, so neither can be
mistaken for, or steered into, the other.
"""

import hashlib
import struct

from proto.model import FindingKind, RecordRef

_PLACE = struct.Struct(">QI")


def _uuid8(domain: bytes, *parts: bytes) -> bytes:
    digest = hashlib.sha256(domain)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    raw = bytearray(digest.digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)


def record_uid(tenant: bytes, ref: RecordRef) -> bytes:
    """Return the id of one statement: where it lies in the chains of its tenant.

    Args:
        tenant: the tenant's 16 bytes.
        ref: agent, epoch, batch and place in the batch.
    """
    place = _PLACE.pack(ref.seq, ref.index)
    return _uuid8(b"vedette/record/1", tenant, ref.agent, ref.epoch, place)


def finding_key(tenant: bytes, host: bytes, kind: FindingKind, rule: str, subject: str) -> bytes:
    """Return the id of a thing found, the same each time it is found again.

    Args:
        tenant: the tenant's 16 bytes.
        host: the agent's 16 bytes.
        kind: what sort of finding.
        rule: the rule or indicator that judged.
        subject: what it judged, in the words of the room that judges (a path, an address, a check).
    """
    return _uuid8(
        b"vedette/finding/1",
        tenant,
        host,
        kind.value.encode(),
        rule.encode("utf-8", "surrogatepass"),
        subject.encode("utf-8", "surrogatepass"),
    )


def incident_uid(tenant: bytes, rule: str, key: str, episode: int) -> bytes:
    """Return the id of an incident: one rule, one key, one episode, over all its revisions.

    Args:
        tenant: the tenant's 16 bytes.
        rule: the correlation rule.
        key: what the rule grouped by.
        episode: counts from 1 for each rule and key.
    """
    number = episode.to_bytes(8, "big")
    return _uuid8(b"vedette/incident/1", tenant, rule.encode(), key.encode(), number)


def show(raw: bytes) -> str:
    """Return a 16-byte id as people and SIEMs read it."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
