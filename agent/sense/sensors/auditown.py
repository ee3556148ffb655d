"""The audit rule of our own: when it may be there, and that it goes.

It is there only while auditd reads what it yields. A keeper removes it when auditd goes, when we
close and when we are killed; should the keeper be killed as well, the next start does. Auditing is
never turned on or off.
"""

import contextlib
import os
from collections.abc import Callable
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


class Keeper(Protocol):
    """Who removes the rule; see `agent.sense.sensors.auditkeeper.Keeper`."""

    def release(self) -> None:
        """Have the rule removed; harmless when repeated."""
        ...

    def code(self) -> int | None:
        """Return 0 when the rule has gone, another number when it could not be removed."""
        ...

    def wait(self) -> int | None:
        """Wait a little for the rule to go; as `code`."""
        ...


# Takes the owner of the rules and the process number of auditd; raises OSError.
StartKeeper = Callable[[Owner, int], Keeper]


class OwnRule:
    """Our rule, one for each architecture.

    It names its owner, so that a second agent that only looks around leaves it alone.

    Args:
        host: where /proc is.
        control: None where there is none to be had.
        machine: as `platform.machine` calls it.
        start_keeper: of a rule that was added.
    """

    def __init__(
        self, host: HostRoot, control: Control | None, machine: str, start_keeper: StartKeeper
    ) -> None:
        self._host = host
        self._control = control
        self._machine = machine
        self._start_keeper = start_keeper
        self._keeper: Keeper | None = None
        self.limits: tuple[AuditLimit, ...] = ()
        self.telling = Telling.UNKNOWN

    @property
    def is_set(self) -> bool:
        """Whether it is there."""
        return self._keeper is not None

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
        set_now, why = self._added(control, status) if add else ([], None)
        self._hang_up()
        rules += set_now
        missing = what_is_missing(status, rules)
        self.telling = told_by(status, rules, self._machine)
        self.limits = (why, *missing) if why else missing

    def look(self, *, auditd_left: bool) -> None:
        """Have it removed if nobody reads any more: the kernel's log would."""
        keeper = self._keeper
        if keeper is None:
            return
        if auditd_left:
            keeper.release()
        code = keeper.code()
        if auditd_left or code is not None:
            self.limits = (LEFT,) if code else (GONE,)
            self.telling = Telling.UNKNOWN
        if code is not None:
            keeper.release()
            self._keeper = None

    def close(self) -> None:
        """Have it removed and hang up; harmless when repeated."""
        self._hang_up()
        if self._keeper is not None:
            self._keeper.release()
            self._keeper.wait()
            self._keeper = None

    def _added(self, control: Control, status: AuditStatus) -> tuple[list[Rule], AuditLimit | None]:
        """Add our rules and have them kept; return them, or why there are none."""
        start = self._start_of("self")
        owner = Owner(os.getpid(), start or 0)
        ours = own_rules(self._machine, owner) if start is not None else ()
        why = why_no_rule(status, ours, daemon_runs=self._runs(status.daemon_pid))
        if why is not None:
            return [], why
        added: list[Rule] = []
        try:
            for rule in ours:
                control.add(rule)
                added.append(rule)
        except AuditRefused:
            # A machine may not run programs of its older architecture; the first is the main.
            if not added:
                return [], NOT_SET
        try:
            self._keeper = self._start_keeper(owner, status.daemon_pid)
        except OSError:
            with contextlib.suppress(AuditRefused):
                for rule in added:
                    control.remove(rule)
            return [], NOT_SET
        return added, None

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

    def _hang_up(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
