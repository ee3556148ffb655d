"""From datagrams of the audit group to execs, and a count of what was lost on the way."""

from typing import Final

from agent.sense.sensors.auditcontrol import HEADER
from agent.sense.sensors.auditfields import AuditError, fields_of, parse_part
from agent.sense.sensors.auditjoin import JoinBounds, Joiner
from agent.sense.sensors.auditserials import Serials
from agent.sense.sensors.execrecord import ExecRecord

_CONFIG_CHANGE: Final = 1305


class AuditIntake:
    """Takes datagrams in the order they came; times are of the boot clock.

    Args:
        argv_bytes_max: arguments beyond it are cut.
    """

    def __init__(self, argv_bytes_max: int) -> None:
        self._joiner = Joiner(JoinBounds(argv_bytes_max=argv_bytes_max))
        self._serials = Serials()
        self._ready: list[ExecRecord] = []
        self._times = 0
        self.events_lost = 0
        self.auditd_left = False

    @property
    def losses(self) -> int:
        """How many times something was lost; it only grows."""
        return self._times + self._joiner.lost

    def is_full(self, records_max: int) -> bool:
        """Tell whether so many execs are complete."""
        return len(self._ready) >= records_max

    def take(self, data: bytes | memoryview, now: int) -> None:
        """Take one datagram, any bytes; what is not a record of the kernel is left out."""
        if len(data) < HEADER.size:
            return
        kind = HEADER.unpack_from(data)[1]
        try:
            part = parse_part(kind, bytes(data[HEADER.size :]))
        except AuditError:
            return
        self._serials.take(part.serial, now)
        if kind == _CONFIG_CHANGE:
            # auditd takes its place and leaves it with this record.
            pid = fields_of(part.text).get(b"audit_pid")
            self.auditd_left = pid == b"0" if pid is not None else self.auditd_left
        self._ready += self._joiner.take(part, now)

    def overrun(self) -> None:
        """Note that the kernel had records and no room for them: how many is not known."""
        self._times += 1
        self._serials.forget()

    def ready(self, records_max: int, now: int) -> list[ExecRecord]:
        """Return execs, oldest first, those whose end did not come in time included."""
        self._ready += self._joiner.overdue(now)
        if lost := self._serials.lost(now):
            self._times += 1
            self.events_lost += lost
        told, self._ready = self._ready[:records_max], self._ready[records_max:]
        return told
