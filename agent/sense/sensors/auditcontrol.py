"""Asks the kernel's audit system for its state and its rules, and adds or removes ours.

Takes CAP_AUDIT_CONTROL. Nothing here ever turns auditing on or off, or takes the place of auditd.
"""

import contextlib
import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, TypeVar

from agent.sense.sensors.auditfields import AuditError
from agent.sense.sensors.auditrule import AuditStatus, Rule, parse_rule, parse_status
from runtime.clock import NS_PER_MS, Clock
from runtime.errors import Fault, VedetteError

ANSWER_WAIT_MS_MAX: Final = 500
RULES_MAX: Final = 8192
MESSAGE_BYTES_MAX: Final = 20_480
NETLINK_AUDIT: Final = 9
HEADER: Final = struct.Struct("=IHHII")
FROM_KERNEL: Final = 0

_GET: Final = 1000
_ADD_RULE: Final = 1011
_DEL_RULE: Final = 1012
_LIST_RULES: Final = 1013
_ERROR: Final = 2
_DONE: Final = 3
_REQUEST_ACK: Final = 0x5
_NUMBER: Final = struct.Struct("=i")

_Value = TypeVar("_Value")


class AuditRefused(VedetteError):
    """The kernel gives us this part of its audit system not; ``errno`` says how it put it."""

    fault: ClassVar[Fault] = Fault.HOST

    def __init__(self, message: str, number: int = 0, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errno = number


class AuditControl:
    """A line to the kernel's audit system.

    Args:
        clock: bounds the waits.

    Raises:
        AuditRefused: this kernel has none.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._number = 0
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK,
                socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
                NETLINK_AUDIT,
            )
        except OSError as error:
            raise AuditRefused(f"audit: {error.strerror}", error.errno or 0) from error

    def status(self) -> AuditStatus:
        """Return whether auditing is on, and who reads it.

        Raises:
            AuditRefused: we may not know.
        """
        for kind, data in self._ask(_GET, b"", until=_GET):
            if kind == _GET:
                return _read(parse_status, data)
        raise AuditRefused("audit: the kernel does not answer", errno.ETIMEDOUT)

    def rules(self) -> list[Rule]:
        """Return the rules of this host.

        Raises:
            AuditRefused: we may not know.
        """
        found = [
            _read(parse_rule, data)
            for kind, data in self._ask(_LIST_RULES, b"", until=_DONE)
            if kind == _LIST_RULES
        ]
        return found[:RULES_MAX]

    def add(self, rule: Rule) -> None:
        """Add a rule.

        Raises:
            AuditRefused: the kernel does not take it, or has it already (``errno`` EEXIST).
        """
        for _ in self._ask(_ADD_RULE, rule.pack(), until=_ERROR):
            pass

    def remove(self, rule: Rule) -> None:
        """Remove a rule; one that is not there is no error.

        Raises:
            AuditRefused: the kernel does not let it go.
        """
        try:
            for _ in self._ask(_DEL_RULE, rule.pack(), until=_ERROR):
                pass
        except AuditRefused as error:
            if error.errno != errno.ENOENT:
                raise

    def close(self) -> None:
        """Hang up; harmless when repeated."""
        self._socket.close()

    def _ask(self, kind: int, data: bytes, *, until: int) -> Iterator[tuple[int, bytes]]:
        """Send one request and yield what is answered, up to a message of kind ``until``.

        Raises:
            AuditRefused: the answer is an error, or does not come.
        """
        self._number += 1
        header = HEADER.pack(HEADER.size + len(data), kind, _REQUEST_ACK, self._number, 0)
        try:
            self._socket.sendto(header + data, (0, 0))
            for answer, text in self._answers():
                if answer == _ERROR and (number := _error_in(text)):
                    raise AuditRefused(f"audit: {os.strerror(number)}", number)
                yield answer, text
                if answer == until:
                    return
        except OSError as error:
            raise AuditRefused(f"audit: {error.strerror}", error.errno or 0) from error

    def _answers(self) -> Iterator[tuple[int, bytes]]:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        until = self._clock.monotonic_ns() + ANSWER_WAIT_MS_MAX * NS_PER_MS
        for _ in range(RULES_MAX + 8):
            left = (until - self._clock.monotonic_ns()) // NS_PER_MS
            if left <= 0 or not poll.poll(left):
                break
            with contextlib.suppress(BlockingIOError):
                data, sender = self._socket.recvfrom(MESSAGE_BYTES_MAX)
                if sender[0] != FROM_KERNEL or len(data) < HEADER.size:
                    continue  # another program of this host, pretending
                _, kind, _, number, _ = HEADER.unpack_from(data)
                if number == self._number:
                    yield kind, data[HEADER.size :]
        raise OSError(errno.ETIMEDOUT, "the kernel does not answer")


def _error_in(text: bytes) -> int:
    """Return the error number of an answer; 0 for a yes."""
    return -_NUMBER.unpack_from(text)[0] if len(text) >= _NUMBER.size else errno.EPROTO


def _read(parse: Callable[[bytes], _Value], data: bytes) -> _Value:
    try:
        return parse(data)
    except AuditError as error:
        raise AuditRefused(f"audit: {error.message}", errno.EPROTO) from error
