"""The kernel's audit system: a status and a table of rules."""

import errno

from agent.sense.sensors.auditcontrol import AuditRefused
from agent.sense.sensors.auditrule import AuditStatus, Rule


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
