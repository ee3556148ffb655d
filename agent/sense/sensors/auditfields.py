"""What an audit record says, from its text alone.

A record is ``audit(SECONDS.MILLIS:SERIAL): name=value name=value ...``. A value that a stranger
chose is quoted, or in hexadecimal where it holds a blank, a quote or anything outside ASCII; so a
blank always ends a field. The kernel's own fields come first and the first of a name counts.

Source: the kernel's kernel/audit.c (audit_log_n_untrustedstring) and kernel/auditsc.c.
"""

import binascii
import re
from typing import ClassVar, Final

from msgspec import Struct

from runtime.clock import NS_PER_MS, NS_PER_S
from runtime.errors import Fault, VedetteError

TEXT_BYTES_MAX: Final = 16_384  # the kernel's longest is below 9,000
FIELDS_MAX: Final = 4096

_HEADER: Final = re.compile(rb"audit\((\d{1,10})\.(\d{3}):(\d{1,10})\): ?")
_ID_MAX: Final = (1 << 32) - 1


class AuditError(VedetteError):
    """Bytes of the audit stream are not what the kernel writes."""

    fault: ClassVar[Fault] = Fault.HOST


class Part(Struct, frozen=True):
    """One record: a part of the event that ``serial`` names; ``wall_ns`` is exact to 1 ms."""

    kind: int
    serial: int
    wall_ns: int
    text: bytes


def parse_part(kind: int, text: bytes) -> Part:
    """Read the stamp of a record.

    Raises:
        AuditError: it has none, or is longer than the kernel's.
    """
    if len(text) > TEXT_BYTES_MAX:
        raise AuditError("an audit record is too long")
    found = _HEADER.match(text)
    if found is None or (serial := int(found[3])) > _ID_MAX:
        raise AuditError("an audit record has no stamp")
    wall_ns = int(found[1]) * NS_PER_S + int(found[2]) * NS_PER_MS
    return Part(kind, serial, wall_ns, text[found.end() :].rstrip(b"\0\n"))


def fields_of(text: bytes) -> dict[bytes, bytes]:
    """Return the fields of a record as they are written."""
    fields: dict[bytes, bytes] = {}
    for word in text.split(b" ", FIELDS_MAX)[:FIELDS_MAX]:
        name, equals, value = word.partition(b"=")
        if equals:
            fields.setdefault(name, value)
    return fields


def plain(value: bytes | None) -> bytes | None:
    """Return what a field stands for: unquoted, or out of hexadecimal; None for no value.

    Raises:
        AuditError: it is written in neither way.
    """
    if value is None or value in {b"(null)", b"(none)", b"?"}:
        return None
    if value[:1] == b'"':
        if len(value) < 2 or value[-1:] != b'"' or b'"' in value[1:-1]:
            raise AuditError("a quoted audit field does not end")
        return value[1:-1]
    try:
        return binascii.unhexlify(value)
    except ValueError as error:
        raise AuditError("an audit field is neither quoted nor hexadecimal") from error


def number(value: bytes | None) -> int | None:
    """Return the id in a field; None for none, which the kernel writes as the highest."""
    if value is None or not value.isdigit() or len(value) > 10:
        return None
    found = int(value)
    return found if found < _ID_MAX else None
