"""Execs as the kernel's audit system tells them: every one that a rule asks for, with arguments.

Listens beside auditd and takes nothing from it: the records are sent to a group that anyone with
CAP_AUDIT_READ may join. Only what the rules of the host ask for is told. A rule of our own is added
where the settings say so, auditd runs and the rules are not locked; auditing is never turned on.

Source: audit_multicast_bind and kauditd_send_multicast_skb in the kernel's kernel/audit.c.
"""

import errno
import platform
import socket
from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.hostroot import HostRoot
from agent.sense.sensors.auditcontrol import (
    FROM_KERNEL,
    MESSAGE_BYTES_MAX,
    NETLINK_AUDIT,
    AuditControl,
    AuditRefused,
)
from agent.sense.sensors.auditintake import AuditIntake
from agent.sense.sensors.auditkeeper import Keeper
from agent.sense.sensors.auditown import OwnRule
from agent.sense.sensors.auditstate import GONE, LEFT, NO_READ, AuditLimit, Telling
from agent.sense.sensors.execrecord import ExecRecord
from agent.sense.sensors.namespaces import sees_host_network
from runtime.clock import Clock

# Records of other events are read and let go; a flood of them must end a turn, too.
MESSAGES_PER_TURN_MAX: Final = 512

_GROUP_READLOG: Final = 1
_SO_RCVBUFFORCE: Final = 33
_DEAF: Final = "audit: a private network namespace hears no records"


class AuditSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the audit records of execs."""

    # Whether a rule of ours may be added where auditd runs; a small process that keeps
    # CAP_AUDIT_CONTROL removes it when auditd or sense ends.
    add_rule: bool = False
    # 8 MiB holds about 2,500 execs with no reader; without CAP_NET_ADMIN the system's limit is
    # given.
    receive_buffer_bytes: Annotated[int, Meta(ge=2304, le=1 << 30)] = 8 * 1024 * 1024


class AuditExecs:
    """An `ArgvSource` of audit records.

    Args:
        host: where /proc is.
        clock: tells how long a part of an event is waited for.
        settings: its own section.
        argv_bytes_max: arguments beyond it are cut.

    Raises:
        AuditRefused: records cannot be listened to; the hint says what is missing.
    """

    def __init__(
        self, host: HostRoot, clock: Clock, settings: AuditSettings, argv_bytes_max: int
    ) -> None:
        self._clock = clock
        self._intake = AuditIntake(argv_bytes_max)
        self._buffer = bytearray(MESSAGE_BYTES_MAX)
        self._has_told = False
        if not sees_host_network(host):
            raise AuditRefused(_DEAF, hint="run sense in the network namespace of the host")
        self._socket = _listening(settings.receive_buffer_bytes)
        self._own = OwnRule(host, _control(clock), platform.machine(), Keeper)
        self._own.prepare(add=settings.add_rule)

    @property
    def losses(self) -> int:
        """How many times records were lost since it was opened."""
        return self._intake.losses

    @property
    def events_lost(self) -> int:
        """How many events are known to have been lost; others may be, of which nobody counted."""
        return self._intake.events_lost

    @property
    def limits(self) -> tuple[AuditLimit, ...]:
        """What narrows what is heard; nothing when execs are told of."""
        limits = self._own.limits
        if self._has_told:
            return tuple(limit for limit in limits if limit in {GONE, LEFT})
        return limits

    @property
    def telling(self) -> Telling:
        """Of which execs records come; what is not known is learnt from the first."""
        known = self._own.telling
        is_learnt = self._has_told and known in {Telling.UNKNOWN, Telling.NONE}
        return Telling.SOME if is_learnt else known

    @property
    def owns_rule(self) -> bool:
        """Whether a rule of ours is there; a keeper sees to it that it goes."""
        return self._own.is_set

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something; -1 once closed."""
        return self._socket.fileno()

    def receive(self, records_max: int) -> Sequence[ExecRecord]:
        """Return complete records, oldest first, without waiting."""
        intake = self._intake
        for _ in range(MESSAGES_PER_TURN_MAX):
            if intake.is_full(records_max) or self._socket.fileno() < 0:
                break
            try:
                size, sender = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError:
                break
            except OSError as error:
                intake.overrun()
                if error.errno != errno.ENOBUFS:
                    break
                continue
            if sender[0] == FROM_KERNEL:
                intake.take(memoryview(self._buffer)[:size], self._clock.boot_ns())
        self._own.look(auditd_left=intake.auditd_left)
        told = intake.ready(records_max, self._clock.boot_ns())
        self._has_told = self._has_told or bool(told)
        return told

    def close(self) -> None:
        """Stop listening and remove our rule; harmless when repeated."""
        self._socket.close()
        self._own.close()


def open_audit(
    host: HostRoot, clock: Clock, settings: AuditSettings, argv_bytes_max: int
) -> AuditExecs:
    """Return a source that may tell of execs; not to be opened where process numbers are foreign.

    Raises:
        AuditRefused: records cannot be listened to, or none of an exec would come; the message
            says what is missing and the hint how to grant it.
    """
    source = AuditExecs(host, clock, settings, argv_bytes_max)
    if source.telling is Telling.NONE:
        limits = source.limits
        source.close()
        raise AuditRefused(
            "; ".join(limit.reason for limit in limits),
            hint="; ".join(limit.grant for limit in limits),
        )
    return source


def _control(clock: Clock) -> AuditControl | None:
    try:
        return AuditControl(clock)
    except AuditRefused:
        return None


def _listening(receive_buffer_bytes: int) -> socket.socket:
    """Return a socket that hears every audit record.

    Raises:
        AuditRefused: the kernel does not let us.
    """
    try:
        listener = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            NETLINK_AUDIT,
        )
    except OSError as error:
        raise AuditRefused(f"audit: {error.strerror}", error.errno or 0) from error
    try:
        try:
            listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer_bytes)
        except PermissionError:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        listener.bind((0, _GROUP_READLOG))
    except OSError as error:
        listener.close()
        raise AuditRefused(
            f"audit: {error.strerror}", error.errno or 0, hint=NO_READ.grant
        ) from error
    return listener
