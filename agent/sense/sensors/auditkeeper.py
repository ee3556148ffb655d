"""A small process that sees to it that our audit rule goes, so that `sense` needs no right to it.

`sense` adds the rule at its start and gives CAP_AUDIT_CONTROL up for good. This process keeps that
one capability, waits for the end of `sense`, a word of it, or the end of auditd, removes the rule
and ends. It reads nothing and makes no other call. It is there only while our rule is.
"""

import contextlib
import os
import platform
import select
import signal
import subprocess  # noqa: TID251  (itself, of a constant argument vector)
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agent.privileges import keep_only, lent
from agent.seccomp import SeccompUnavailable, install
from agent.sense.sensors.auditcontrol import AuditControl, AuditRefused
from agent.sense.sensors.auditrule import Owner, own_rules
from runtime.clock import SystemClock

MODULE: Final = "agent.sense.sensors.auditkeeper"
REMOVE_WAIT_S_MAX: Final = 2

_CALLS: Final = (
    "brk", "clock_gettime", "close", "exit", "exit_group", "futex", "madvise", "mmap", "mprotect",
    "mremap", "munmap", "poll", "ppoll", "read", "recvfrom", "recvmsg", "restart_syscall",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sendmsg", "sendto", "write",
)  # fmt: skip


class Keeper:
    """A keeper, seen from `sense`.

    Args:
        owner: whose rules it is to remove.
        daemon_pid: of auditd.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, owner: Owner, daemon_pid: int) -> None:
        package = Path(__file__).resolve().parents[3]
        with lent("audit_control"):
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-s", "-m", MODULE),
                    *(str(number) for number in (owner.pid, owner.start, daemon_pid)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env={"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
                close_fds=True,
                start_new_session=True,
            )

    def release(self) -> None:
        """Have the rule removed; harmless when repeated."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def code(self) -> int | None:
        """Return 0 when the rule has gone, another number when it could not be removed."""
        return self._process.poll()

    def wait(self) -> int | None:
        """Wait a little for the rule to go; as `code`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(REMOVE_WAIT_S_MAX)
        return None


def main(words: Sequence[str]) -> int:
    """Wait, remove the rules of an owner and return 0; 1 when they are still there."""
    # Whoever stops us all stops sense first: this is what ends it in good order.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pid, start, daemon_pid = (int(word) for word in words)
    rules = own_rules(platform.machine(), Owner(pid, start))
    try:
        control = AuditControl(SystemClock())
        keep_only(("audit_control",))
        _wait(daemon_pid)
        for rule in rules:
            control.remove(rule)
    except (AuditRefused, OSError):
        return 1
    return 0


def _wait(daemon_pid: int) -> None:
    """Wait for the end of standard input or of auditd."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    try:
        poll.register(os.pidfd_open(daemon_pid), select.POLLIN)
    except OSError:
        return  # it has ended, or nobody would tell us that it does
    with contextlib.suppress(SeccompUnavailable):
        install(_CALLS)
    poll.poll()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
