"""The audit rule of our own: when it may be there, and that it goes.

It is there only while auditd reads what it yields. It is removed when auditd goes, when we close,
and, should we have been killed, at the next start. Auditing is never turned on or off.
"""

import contextlib
import os
from typing import Protocol

from agent.hostroot import HostFileError, HostRoot
from agent.sense.sensors.auditcontrol import AuditRefused
from agent.sense.sensors.auditrule import AuditStatus, Owner, Rule, own_rules, owner_of
from agent.sense.sensors.auditstate import (
    GONE,
    LEFT,
    NO_CONTROL,
    NOT_SET,
    AuditLimit,
    Telling,
    told_by,
    what_is_missing,
    why_no_rule,
)
from agent.sense.sensors.procfs import STAT_BYTES_MAX, ProcError, parse_stat


class Control(Protocol):
    """A line to the kernel's audit system; see `agent.sense.sensors.auditcontrol.AuditControl`."""

    def status(self) -> AuditStatus:
        """Return whether auditing is on, and who reads it."""
        ...

    def rules(self) -> list[Rule]:
        """Return the rules of this host."""
        ...

    def add(self, rule: Rule) -> None:
        """Add a rule."""
        ...

    def remove(self, rule: Rule) -> None:
        """Remove a rule; one that is not there is no error."""
        ...

    def close(self) -> None:
        """Hang up; harmless when repeated."""
        ...


class OwnRule:
    """Our rule, one for each architecture.

    It names its owner, so that a second agent that only looks around leaves it alone.

    Args:
        host: where /proc is.
        control: None where there is none to be had.
        machine: as `platform.machine` calls it.
    """

    def __init__(self, host: HostRoot, control: Control | None, machine: str) -> None:
        self._host = host
        self._control = control
        self._machine = machine
        self._set: list[Rule] = []
        self._daemon_pid = 0
        self.limits: tuple[AuditLimit, ...] = ()
        self.telling = Telling.UNKNOWN

    @property
    def is_set(self) -> bool:
        """Whether it is there, so that CAP_AUDIT_CONTROL is needed until `close`."""
        return bool(self._set)

    def prepare(self, *, add: bool) -> None:
        """Remove what was left behind, add our rule if we may; ``limits`` is what is missing."""
        control = self._control
        if control is None:
            self.limits = (NO_CONTROL,)
            return
        try:
            status, rules = control.status(), control.rules()
            if not status.is_locked:
                for rule in [rule for rule in rules if self._is_stale(rule)]:
                    control.remove(rule)
                    rules.remove(rule)
        except AuditRefused:
            self._hang_up()
            self.limits = (NO_CONTROL,)
            return
        why = self._added(control, status) if add else None
        rules += self._set
        missing = what_is_missing(status, rules)
        self.telling = told_by(status, rules, self._machine)
        self.limits = (why, *missing) if why else missing
        if not self._set:
            self._hang_up()

    def look(self, *, auditd_left: bool) -> None:
        """Remove it if nobody reads any more: the kernel's log would."""
        if self._set and (auditd_left or not self._runs(self._daemon_pid)):
            self._withdraw()
            self.limits = (LEFT,) if self._set else (GONE,)
            self.telling = Telling.UNKNOWN

    def close(self) -> None:
        """Remove it and hang up; harmless when repeated."""
        self._withdraw()
        self._hang_up()

    def _added(self, control: Control, status: AuditStatus) -> AuditLimit | None:
        """Add our rules; return why not."""
        self._daemon_pid = status.daemon_pid
        start = self._start_of("self")
        ours = own_rules(self._machine, Owner(os.getpid(), start)) if start is not None else ()
        why = why_no_rule(status, ours, daemon_runs=self._runs(status.daemon_pid))
        if why is not None:
            return why
        for rule in ours:
            try:
                control.add(rule)
            except AuditRefused:
                # A machine may not run programs of its older architecture; the first is the main.
                return None if self._set else NOT_SET
            self._set.append(rule)
        return None

    def _is_stale(self, rule: Rule) -> bool:
        """Tell whether this is a rule of an agent that has ended."""
        owner = owner_of(rule, self._machine)
        return owner is not None and self._start_of(str(owner.pid)) != owner.start

    def _runs(self, pid: int) -> bool:
        return bool(pid) and self._start_of(str(pid)) is not None

    def _start_of(self, process: str) -> int | None:
        """Return when a process began; None when there is none."""
        with contextlib.suppress(HostFileError, ProcError):
            return parse_stat(self._host.read_bytes(f"/proc/{process}/stat", STAT_BYTES_MAX)).start
        return None

    def _withdraw(self) -> None:
        with contextlib.suppress(AuditRefused):
            while self._set and self._control is not None:
                self._control.remove(self._set[-1])
                self._set.pop()

    def _hang_up(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
