"""``inspect``: the worker that reads what strangers wrote; `sense` or its socket unit starts it.

Its one connection is its standard input. Before it takes a request it gives up everything: files,
network, programs, capabilities. Where the kernel has no system call filter it does not work at all.
"""

import contextlib
import os
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import DEFAULT_PATH
from agent.errors import FailReason
from agent.inspect.worker import serve
from agent.inspectframes import Failed, encode
from agent.landlock import cage
from agent.privileges import user_id
from agent.seccomp import SeccompUnavailable, install
from agent.sense.confine import Confinement, confine
from agent.settings import SharedSettings
from runtime.settings import load
from runtime.supervise import die_with_parent

if TYPE_CHECKING:
    import argparse

MEMORY_BYTES_MAX: Final = 128 * 1024 * 1024
CPU_S_MAX: Final = 1800
# To read what it is handed, to answer, to have memory and to end; nothing to open, to call or to
# start anything.
CALLS: Final = (
    "brk", "clock_gettime", "close", "exit", "exit_group", "fstat", "futex", "getrandom", "lseek",
    "madvise", "mmap", "mprotect", "mremap", "munmap", "newfstatat", "pread64", "read", "recvmsg",
    "restart_syscall", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sendmsg", "setitimer",
    "sigaltstack", "write",
)  # fmt: skip

_CREDENTIALS: Final = struct.Struct("=3i")
_INIT: Final = 1


def add_arguments(parser: "argparse.ArgumentParser") -> None:
    """Describe the command."""
    parser.add_argument(
        "work",
        nargs="?",
        choices=("dns",),
        help="dns: see packets of port 53, in a unit of its own",
    )


def run(args: "argparse.Namespace") -> int:
    """Work until the asker hangs up; exit 2 when not started on a connection of ours.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
        NoCapture: DNS packets are asked for, and cannot be seen here.
        NoSuchUser: there is no user of `sense` (exit 4).
        OSError: the kernel refuses to take rights away, or the line broke.
    """
    if getattr(args, "work", None) == "dns":
        # Another unit with other imports: no worker shall carry them.
        from agent.commands import inspect_dns  # noqa: PLC0415

        return inspect_dns.run(args)
    line = _connection()
    if line is None or not _is_trusted(line, args.config):
        sys.stderr.write("vedette-agent: inspect is started by sense or by its socket unit\n")
        return 2
    if os.getppid() != _INIT:
        die_with_parent(os.getppid())
    try:
        shut_in()
    except SeccompUnavailable as error:
        line.send(encode(Failed(FailReason.OFF, error.message[:200])))
        return 1
    with contextlib.suppress(ConnectionError):
        serve(line)
    return 0


def shut_in() -> None:
    """Give up everything, for good.

    Raises:
        SeccompUnavailable: there is no filter of system calls.
        OSError: the kernel refuses to take rights away.
    """
    confine(Confinement(MEMORY_BYTES_MAX, CPU_S_MAX, file_bytes_max=0))
    with contextlib.suppress(OSError):  # a unit may forbid it; the filter opens nothing either
        cage((), ())
    install(CALLS)


def _connection() -> socket.socket | None:
    """Return standard input as the connection that it is."""
    try:
        line = socket.socket(fileno=0)
    except OSError:
        return None
    if line.family == socket.AF_UNIX and line.type == socket.SOCK_SEQPACKET:
        return line
    line.detach()
    return None


def _is_trusted(line: socket.socket, config: Path | None) -> bool:
    """Tell whether the asker is who may ask: this very user, or that of `sense`."""
    try:
        found = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return False
    uid: int = _CREDENTIALS.unpack(found)[1]
    if uid == os.geteuid():
        return True
    settings = load(SharedSettings, config or Path(DEFAULT_PATH), {}, missing_ok=config is None)
    return uid == user_id(settings.privileges.sense_user)
