"""The kernel's audit system: a status and a table of rules."""

import errno

from agent.sense.sensors.auditcontrol import AuditRefused
from agent.sense.sensors.auditrule import AuditStatus, Owner, Rule, owner_of


class FakeAudit:
    """Takes and gives rules as the kernel does; ``refuses`` rules it does not understand."""

    def __init__(self, *, enabled: int = 1, daemon_pid: int = 1) -> None:
        self.enabled = enabled
        self.daemon_pid = daemon_pid
        self.table: list[Rule] = []
        self.refuses: list[Rule] = []
        self.may_ask = True
        self.is_closed = False

    def status(self) -> AuditStatus:
        self._check()
        return AuditStatus(self.enabled, self.daemon_pid, 0)

    def rules(self) -> list[Rule]:
        self._check()
        return list(self.table)

    def add(self, rule: Rule) -> None:
        self._check(change=True)
        if rule in self.table:
            raise AuditRefused("audit: File exists", errno.EEXIST)
        if rule in self.refuses:
            raise AuditRefused("audit: Invalid argument", errno.EINVAL)
        self.table.append(rule)

    def remove(self, rule: Rule) -> None:
        self._check(change=True)
        if rule in self.table:
            self.table.remove(rule)

    def close(self) -> None:
        self.is_closed = True

    def _check(self, *, change: bool = False) -> None:
        if not self.may_ask or self.is_closed or (change and self.enabled == 2):
            raise AuditRefused("audit: Operation not permitted", errno.EPERM)


class FakeKeepers:
    """Keepers over one table; ``refuses`` to start, or is ``stuck`` with the rule in place."""

    def __init__(self, audit: FakeAudit, machine: str) -> None:
        self.audit = audit
        self.machine = machine
        self.refuses = False
        self.is_stuck = False
        self.started: list[FakeKeeper] = []

    def __call__(self, owner: Owner, daemon_pid: int) -> "FakeKeeper":
        if self.refuses:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        self.started.append(FakeKeeper(self, owner, daemon_pid))
        return self.started[-1]


class FakeKeeper:
    """Removes what it is of when it is released, or when auditd ends."""

    def __init__(self, group: FakeKeepers, owner: Owner, daemon_pid: int) -> None:
        self._group = group
        self._owner = owner
        self._code: int | None = None
        self.daemon_pid = daemon_pid

    def release(self) -> None:
        group = self._group
        self._code = int(group.is_stuck)
        if not group.is_stuck:
            table = group.audit.table
            table[:] = [rule for rule in table if owner_of(rule, group.machine) != self._owner]

    def code(self) -> int | None:
        return self._code

    def wait(self) -> int | None:
        return self._code
