"""The kernel's process events connector: an open ear for every exec on the host.

Whether it may be used is tried, never guessed from a version: some kernels want CAP_NET_ADMIN, some
do not, and in a private network namespace it does not answer. Once open it outlives the loss of
every capability.
"""

import contextlib
import ctypes
import errno
import os
import select
import socket
import struct
from typing import ClassVar, Final

from agent.sense.sensors import procevents
from agent.sense.sensors.procevents import Ack, Event, Lost, parse_event
from agent.sense.sensors.procfs import ProcError
from runtime.clock import Clock
from runtime.errors import Fault, VedetteError

ACK_WAIT_MS_MAX: Final = 200
MESSAGE_BYTES_MAX: Final = 4096

_NETLINK_CONNECTOR: Final = 11
_SO_RCVBUFFORCE: Final = 33
_SO_ATTACH_FILTER: Final = 26
_FROM_KERNEL: Final = 0


class ConnectorRefused(VedetteError):
    """The kernel gives us no process events."""

    fault: ClassVar[Fault] = Fault.HOST


class Connector:
    """An open connector.

    Args:
        clock: stamps the losses that the kernel reports.
        receive_buffer_bytes: what is asked for; without CAP_NET_ADMIN the system's limit is given.
        exits: whether the ends of processes are wanted too.

    Raises:
        ConnectorRefused: the kernel gives us no process events; the message says how it put it.
    """

    def __init__(self, clock: Clock, receive_buffer_bytes: int, *, exits: bool) -> None:
        self._clock = clock
        self._buffer = bytearray(MESSAGE_BYTES_MAX)
        # Whether the last `receive` took all there was.
        self.is_drained = False
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK,
                socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
                _NETLINK_CONNECTOR,
            )
        except OSError as error:
            raise ConnectorRefused(f"process events: {error.strerror}") from error
        try:
            self._open(receive_buffer_bytes, exits=exits)
        except OSError as error:
            self._socket.close()
            raise ConnectorRefused(f"process events: {error.strerror}") from error

    @property
    def receive_buffer_bytes(self) -> int:
        """What the kernel gave; it counts its own bookkeeping in it."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2

    def fileno(self) -> int:
        """Return the descriptor that is readable when there are events; -1 once closed."""
        return self._socket.fileno()

    def receive(self, events_max: int) -> list[Event]:
        """Return what is waiting, in order, without waiting; a loss stands where it was told of."""
        events: list[Event] = []
        self.is_drained = False
        for _ in range(events_max):
            try:
                size, sender = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError:
                self.is_drained = True
                break
            except OSError as error:
                events.append(Lost(at=self._clock.monotonic_ns()))
                if error.errno != errno.ENOBUFS:
                    break
                continue
            if sender[0] != _FROM_KERNEL:
                continue  # another program of this host, pretending
            with contextlib.suppress(ProcError):
                if event := parse_event(memoryview(self._buffer)[:size]):
                    events.append(event)
        return events

    def close(self) -> None:
        """Stop the events; harmless when repeated."""
        if self._socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._socket.send(procevents.request(procevents.IGNORE))
            self._socket.close()

    def _open(self, receive_buffer_bytes: int, *, exits: bool) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer_bytes)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._attach(procevents.socket_filter(exits=exits))
        self._socket.bind((0, procevents.CN_IDX_PROC))
        self._socket.connect((0, 0))
        number = self._clock.monotonic_ns() & 0xFFFFFFFF
        self._socket.send(procevents.request(procevents.LISTEN, number))
        self._await_ack(number)

    def _attach(self, program: bytes) -> None:
        held = ctypes.create_string_buffer(program, len(program))
        option = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)

    def _await_ack(self, number: int) -> None:
        """Wait for the kernel's yes; where it will not speak to us it may also say nothing.

        Events alone prove nothing: they come while another program listens, and end with it.

        Raises:
            OSError: it was a no, or there was no answer.
        """
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        until = self._clock.monotonic_ns() + ACK_WAIT_MS_MAX * 1_000_000
        while (left := until - self._clock.monotonic_ns()) > 0 and poll.poll(left // 1_000_000):
            for event in self.receive(1):
                if isinstance(event, Ack) and event.number == number:
                    if event.error:
                        raise OSError(event.error, os.strerror(event.error))
                    return
        raise OSError(errno.ETIMEDOUT, "the kernel does not answer")
