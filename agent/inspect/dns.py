"""The process that reads DNS packets: small, alone, and with nothing but two sockets.

``python -m agent.inspect.dns CAPTURE PATH``, started by ``vedette-agent inspect dns``, which has
opened the packet socket and given up every right. It goes to the door of `sense`, takes the last
calls away from itself, and from then on can read packets and write frames: it opens no file, makes
no socket and sends no packet. When the door closes it ends, and whoever runs it starts another.
"""

import ctypes
import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

from agent.dnsframes import DnsHello, DnsLost, DnsSeen, encode_dns
from agent.inspect.dnscapture import PACKET_BYTES_MAX, receive, take_dropped
from agent.inspect.dnsteller import NS_PER_S, DnsTeller, Pace
from agent.seccomp import install
from runtime.errors import VedetteError
from runtime.frames import encode_frame

PACKETS_PER_TURN: Final = 64
PENDING_BYTES_MAX: Final = 128 * 1024
PAUSE_MS: Final = 200
COUNT_EVERY_NS: Final = NS_PER_S
RETRY_S_FIRST: Final = 0.5
RETRY_S_MAX: Final = 30.0
# What is left to the process: reading, writing, waiting, memory, the kernel's count of drops.
CALLS: Final = (
    "brk", "clock_gettime", "close", "fstat", "futex", "getpid", "getrandom", "getsockopt",
    "gettid", "madvise", "mmap", "mprotect", "mremap", "munmap", "poll", "ppoll", "read",
    "recvfrom", "restart_syscall", "rt_sigaction", "rt_sigprocmask", "sigaltstack", "tgkill",
    "write",
)  # fmt: skip

_PR_SET_DUMPABLE: Final = 4
_READABLE: Final = select.POLLIN | select.POLLHUP | select.POLLERR


class DnsUnit:
    """Reads packets and writes frames, until the door closes.

    Args:
        capture: the packet socket.
        door: the connected socket of `sense`; neither of the two blocks.
    """

    def __init__(self, capture: socket.socket, door: socket.socket) -> None:
        self._capture = capture
        self._door = door
        self._buffer = bytearray(PACKET_BYTES_MAX)
        self._pace = Pace()
        self._teller = DnsTeller()
        self._out = bytearray(encode_frame(encode_dns(DnsHello())))
        self._count_at: int | None = None
        self._is_paused = False
        self.is_over = False

    def turn(self) -> None:
        """Wait for the next thing to do, and do it."""
        poll = select.poll()
        poll.register(self._door, select.POLLIN | (select.POLLOUT if self._out else 0))
        if not self._is_paused:
            poll.register(self._capture, select.POLLIN)
        ready = dict(poll.poll(self._wait_ms()))
        if ready.get(self._door.fileno(), 0) & _READABLE:
            self.is_over = True  # nobody speaks at that door: it has closed
            return
        self._read()
        self._count()
        self._write()

    def _wait_ms(self) -> int | None:
        if self._is_paused:
            return PAUSE_MS
        waits = self._count_at is not None or self._teller.has_lost
        return COUNT_EVERY_NS // 1_000_000 if waits else None

    def _read(self) -> None:
        granted = self._pace.take(PACKETS_PER_TURN, time.monotonic_ns())
        self._is_paused = granted == 0
        for used in range(granted):
            packet = receive(self._capture, self._buffer)
            if packet is None:
                self._pace.give_back(granted - used)
                break
            if self._count_at is None:
                self._count_at = time.monotonic_ns() + COUNT_EVERY_NS
            seen = self._teller.seen(packet)
            if seen is not None:
                self._tell(seen)

    def _count(self) -> None:
        """Ask the kernel what it dropped, a second after packets have come."""
        now = time.monotonic_ns()
        if self._count_at is not None and now >= self._count_at:
            self._count_at = None
            self._teller.dropped(take_dropped(self._capture))
        if (lost := self._teller.take_lost(now)) is not None:
            self._tell(lost)

    def _tell(self, frame: DnsSeen | DnsLost) -> None:
        if len(self._out) > PENDING_BYTES_MAX:
            self._teller.omitted(1)
            return
        self._out += encode_frame(encode_dns(frame))

    def _write(self) -> None:
        try:
            while self._out:
                # Not `send`: its call is one of those that were taken away.
                del self._out[: os.write(self._door.fileno(), self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self.is_over = True


def main(arguments: Sequence[str]) -> int:
    """Read packets until the door closes.

    Args:
        arguments: the number of the packet socket's descriptor, the path of the door.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    capture = socket.socket(fileno=int(arguments[0]))
    capture.set_inheritable(False)
    door = _door(arguments[1])
    take_dropped(capture)
    unit = DnsUnit(capture, door)
    try:
        install(CALLS)
    except VedetteError as error:
        sys.stderr.write(f"vedette-dns: {error}\n")
        return 1
    while not unit.is_over:
        unit.turn()
    return 0


def _door(path: str) -> socket.socket:
    """Return the connected door, however long `sense` takes to open it."""
    wait_s = RETRY_S_FIRST
    while True:
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            door.connect(path)
        except OSError:
            door.close()
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_S_MAX)
        else:
            door.setblocking(False)  # noqa: FBT003  (the standard library's own signature)
            return door


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
