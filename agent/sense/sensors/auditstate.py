"""What the audit system of this host lets us know of execs, and how to be given more.

Pure: from its status and rules to what is missing, in words for `health` and ``doctor``.
"""

import enum
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from agent.sense.sensors.auditrule import AuditStatus, Rule


class Telling(enum.Enum):
    """Of which execs records come."""

    EVERY = "every"
    SOME = "some"
    UNKNOWN = "unknown"
    NONE = "none"


class AuditLimit(Struct, frozen=True):
    """Something that narrows what is heard, and how to grant it."""

    reason: str
    grant: str


RULE_LINE: Final = "-a always,exit -F arch=b64 -S execve,execveat -F key=exec"

NO_READ: Final = AuditLimit(
    "audit records cannot be listened to", "give sense CAP_AUDIT_READ (profile standard)"
)
NO_CONTROL: Final = AuditLimit(
    "whether this host records execs is not known",
    "give sense CAP_AUDIT_CONTROL, or look yourself: auditctl -s; auditctl -l",
)
OFF: Final = AuditLimit(
    "auditing is off (enabled=0), so no rule tells of execs", "run auditd, then: auditctl -e 1"
)
NO_RULE: Final = AuditLimit(
    "no audit rule of this host tells of execs",
    f"add to /etc/audit/rules.d: {RULE_LINE}; or let sense add its own (audit.add_rule)",
)
SILENCED: Final = AuditLimit(
    "an audit rule of this host (-a never,task) keeps execs from being told",
    "remove it from /etc/audit/rules.d; it works for processes started after that",
)
NO_DAEMON: Final = AuditLimit(
    "no audit rule is added: without auditd the kernel log would receive every argument",
    "run auditd, or set audit.add_rule = false",
)
LOCKED: Final = AuditLimit(
    "no audit rule is added: the rules are locked until the next boot",
    f"add to /etc/audit/rules.d and boot again: {RULE_LINE}",
)
NO_NUMBERS: Final = AuditLimit(
    "no audit rule is added: the calls of this machine are not known",
    f"add to /etc/audit/rules.d: {RULE_LINE}",
)
NOT_SET: Final = AuditLimit(
    "the audit rule is not in place: the kernel did not take it",
    f"add to /etc/audit/rules.d: {RULE_LINE}",
)
GONE: Final = AuditLimit(
    "our audit rule was removed when auditd went", "start auditd, then sense again"
)
LEFT: Final = AuditLimit(
    "our audit rule is still there and cannot be removed",
    "auditctl -l shows it, with a key that begins with vedette-own; auditctl -D -k KEY",
)


def why_no_rule(
    status: AuditStatus, ours: Sequence[Rule], *, daemon_runs: bool
) -> AuditLimit | None:
    """Return why we must not add a rule; None where we may.

    A rule without a reader would write the arguments of every program, secrets included, to the
    kernel's log.
    """
    if status.is_locked:
        return LOCKED
    if not daemon_runs:
        return NO_DAEMON
    if not ours:
        return NO_NUMBERS
    return None


def what_is_missing(status: AuditStatus, rules: Sequence[Rule]) -> tuple[AuditLimit, ...]:
    """Return why no exec is told of; nothing where they are."""
    if not status.enabled:
        return (OFF,)
    if any(rule.silences_all for rule in rules):
        return (SILENCED,)
    return () if any(rule.tells_execs for rule in rules) else (NO_RULE,)


def told_by(status: AuditStatus, rules: Sequence[Rule], machine: str) -> Telling:
    """Return of which execs this host makes records."""
    if what_is_missing(status, rules):
        return Telling.NONE
    if any(rule.tells_every_exec(machine) for rule in rules):
        return Telling.EVERY
    return Telling.SOME
