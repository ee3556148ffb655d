"""The kernel's audit rules, as it packs them, and the one we may add: every execve and execveat.

Source: include/uapi/linux/audit.h (struct audit_rule_data, struct audit_status).
"""

import re
import struct
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from agent.sense.sensors.auditfields import AuditError

# Then the owner's process number and start: a rule whose owner is gone is anyone's to remove.
KEY_PREFIX: Final = b"vedette-own-"
RULE_BYTES_MAX: Final = 16_384

_TASK: Final = 1
_OWNER: Final = re.compile(re.escape(KEY_PREFIX) + rb"(\d{1,10})-(\d{1,19})")
_EXIT: Final = 4
_NEVER: Final = 0
_ALWAYS: Final = 2
_FIELD_ARCH: Final = 11
_FIELD_SUCCESS: Final = 104
_FIELD_KEY: Final = 210
_EQUAL: Final = 0x40000000
_NARROW_NOTHING: Final = frozenset({_FIELD_KEY, _FIELD_SUCCESS})
_FIELDS_MAX: Final = 64
# flags, action, count of fields, then mask, fields, values and operators, then the strings' size.
_RULE: Final = struct.Struct("=III" + "64I" * 4 + "I")
_MASK_AT: Final = 3
_FIELDS_AT: Final = _MASK_AT + 64
_VALUES_AT: Final = _FIELDS_AT + 64
_OPERATORS_AT: Final = _VALUES_AT + 64
# mask, enabled, failure, pid, rate limit, backlog limit, lost, backlog
_STATUS: Final = struct.Struct("=8I")

# Machine: its architectures, each with the numbers of execve and execveat.
_EXECS: Final = {
    "x86_64": ((0xC000003E, (59, 322)), (0x40000003, (11, 358))),
    "aarch64": ((0xC00000B7, (221, 281)), (0x40000028, (11, 387))),
}


class AuditStatus(Struct, frozen=True):
    """What AUDIT_GET tells; ``enabled`` is 0 off, 1 on, 2 on and locked until the next boot."""

    enabled: int
    daemon_pid: int
    lost: int

    @property
    def is_locked(self) -> bool:
        """Whether no rule can be added or removed."""
        return self.enabled == 2


class Rule(Struct, frozen=True):
    """One rule: where and what it does, the calls it is about, its fields and its strings."""

    flags: int
    action: int
    calls: frozenset[int]
    fields: tuple[tuple[int, int, int], ...]
    strings: bytes

    @property
    def key(self) -> bytes:
        """The name that its records bear; keys come last and are the last string."""
        at = len(self.strings)
        for kind, value, _ in reversed(self.fields):
            if kind == _FIELD_KEY:
                return self.strings[max(0, at - value) : at]
            if kind in _STRING_FIELDS:
                at -= value
        return b""

    @property
    def tells_execs(self) -> bool:
        """Whether it makes a record of execs, of all or of some."""
        numbers = {number for archs in _EXECS.values() for _, calls in archs for number in calls}
        return self.action == _ALWAYS and self.flags & 0xF == _EXIT and bool(self.calls & numbers)

    def tells_every_exec(self, machine: str) -> bool:
        """Tell whether it makes a record of every exec of the programs that this machine is for."""
        (architecture, numbers), *_ = _EXECS.get(machine, ((0, ()),))
        narrowing = [
            (kind, value)
            for kind, value, _ in self.fields
            if kind not in _NARROW_NOTHING and (kind, value) != (_FIELD_ARCH, architecture)
        ]
        return self.tells_execs and bool(numbers) and self.calls >= {*numbers} and not narrowing

    @property
    def silences_all(self) -> bool:
        """Whether it keeps every process from being audited; some distributions come with it."""
        return self.flags & 0xF == _TASK and self.action == _NEVER and not self.fields

    def pack(self) -> bytes:
        """Return it as the kernel takes it."""
        mask = [0] * 64
        for call in self.calls:
            mask[call // 32] |= 1 << call % 32
        columns = list(zip(*self.fields, strict=True)) or [(), (), ()]
        padded = [[*column, *[0] * (_FIELDS_MAX - len(column))] for column in columns]
        head = (self.flags, self.action, len(self.fields))
        numbers = (*head, *mask, *padded[0], *padded[1], *padded[2])
        return _RULE.pack(*numbers, len(self.strings)) + self.strings


# Fields whose value is the size of their string: labels, watch, directory, executable, key.
_STRING_FIELDS: Final = frozenset({*range(13, 18), *range(19, 24), 105, 107, 112, _FIELD_KEY})


class Owner(Struct, frozen=True):
    """The process that a rule is of: its number and its start in nanoseconds since boot."""

    pid: int
    start: int

    @property
    def key(self) -> bytes:
        """The name of its rules."""
        return b"%s%d-%d" % (KEY_PREFIX, self.pid, self.start)


def owner_of(rule: Rule, machine: str) -> Owner | None:
    """Return whose rule this is; None for a rule of the host's, whatever its name."""
    found = _OWNER.fullmatch(rule.key)
    owner = Owner(int(found[1]), int(found[2])) if found else None
    return owner if owner and rule in own_rules(machine, owner) else None


def own_rules(machine: str, owner: Owner) -> tuple[Rule, ...]:
    """Return the rules we may add, one for each architecture whose programs this machine runs."""
    key = owner.key
    return tuple(
        Rule(
            flags=_EXIT,
            action=_ALWAYS,
            calls=frozenset(numbers),
            fields=((_FIELD_ARCH, architecture, _EQUAL), (_FIELD_KEY, len(key), _EQUAL)),
            strings=key,
        )
        for architecture, numbers in _EXECS.get(machine, ())
    )


def parse_rule(data: bytes) -> Rule:
    """Read a rule as the kernel lists it.

    Raises:
        AuditError: it is not one.
    """
    if not _RULE.size <= len(data) <= RULE_BYTES_MAX:
        raise AuditError("an audit rule is cut short or too long")
    values = _RULE.unpack_from(data)
    count, size = values[2], values[-1]
    strings = data[_RULE.size : _RULE.size + size]
    if count > _FIELDS_MAX or len(strings) != size:
        raise AuditError("an audit rule is cut short or too long")
    mask = values[_MASK_AT:_FIELDS_AT]
    return Rule(
        flags=values[0],
        action=values[1],
        calls=frozenset(
            32 * word + bit
            for word, bits in enumerate(mask)
            for bit in range(32)
            if bits >> bit & 1
        ),
        fields=tuple(
            (values[_FIELDS_AT + at], values[_VALUES_AT + at], values[_OPERATORS_AT + at])
            for at in range(count)
        ),
        strings=strings,
    )


def _calls_of(mask: Sequence[int]) -> frozenset[int]:
    return frozenset(at for at in range(32 * len(mask)) if mask[at // 32] >> at % 32 & 1)


def parse_status(data: bytes) -> AuditStatus:
    """Read what AUDIT_GET answers.

    Raises:
        AuditError: it is cut short.
    """
    try:
        found = _STATUS.unpack_from(data)
    except struct.error as error:
        raise AuditError("an audit status is cut short") from error
    return AuditStatus(enabled=found[1], daemon_pid=found[3], lost=found[6])
