"""A filter of system calls for a process that needs few: seccomp, through libc by ctypes.

Once installed, this process and its children make the calls they were left and no other, and can
take nothing back. Memory is never made executable after that, so whatever comes as a library must
have been imported before.

Source: seccomp(2), bpf(4) and the kernel's include/uapi/linux/{seccomp,filter,audit}.h; numbers of
arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Final

from runtime.errors import Fault, VedetteError

# Name: its number on x86-64 and on 64-bit Arm; -1 where there is no such call.
CALLS: Final[dict[str, tuple[int, int]]] = {
    "accept": (43, 202),
    "accept4": (288, 242),
    "access": (21, -1),
    "bind": (49, 200),
    "brk": (12, 214),
    "clock_getres": (229, 114),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close": (3, 57),
    "close_range": (436, 436),
    "connect": (42, 203),
    "dup": (32, 23),
    "dup2": (33, -1),
    "dup3": (292, 24),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_pwait": (281, 22),
    "epoll_wait": (232, -1),
    "eventfd2": (290, 19),
    "execve": (59, 221),
    "execveat": (322, 281),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "fadvise64": (221, 223),
    "fcntl": (72, 25),
    "fdatasync": (75, 83),
    "flock": (73, 32),
    "fstat": (5, 80),
    "fstatfs": (138, 44),
    "fsync": (74, 82),
    "ftruncate": (77, 46),
    "futex": (202, 98),
    "getcwd": (79, 17),
    "getdents64": (217, 61),
    "getegid": (108, 177),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getpeername": (52, 205),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "getsockname": (51, 204),
    "getsockopt": (55, 209),
    "gettid": (186, 178),
    "gettimeofday": (96, 169),
    "getuid": (102, 174),
    "ioctl": (16, 29),
    "kill": (62, 129),
    "lseek": (8, 62),
    "lstat": (6, -1),
    "madvise": (28, 233),
    "memfd_create": (319, 279),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "nanosleep": (35, 101),
    "newfstatat": (262, 79),
    "open": (2, -1),
    "openat": (257, 56),
    "openat2": (437, 437),
    "pipe": (22, -1),
    "pipe2": (293, 59),
    "poll": (7, -1),
    "ppoll": (271, 73),
    "prctl": (157, 167),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "prlimit64": (302, 261),
    "pselect6": (270, 72),
    "pwrite64": (18, 68),
    "pwritev": (296, 70),
    "read": (0, 63),
    "readlink": (89, -1),
    "readlinkat": (267, 78),
    "readv": (19, 65),
    "recvfrom": (45, 207),
    "recvmmsg": (299, 243),
    "recvmsg": (47, 212),
    "restart_syscall": (219, 128),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigsuspend": (130, 133),
    "rt_sigtimedwait": (128, 137),
    "sched_yield": (24, 124),
    "select": (23, -1),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "set_robust_list": (273, 99),
    "setitimer": (38, 103),
    "setsockopt": (54, 208),
    "shutdown": (48, 210),
    "sigaltstack": (131, 132),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "stat": (4, -1),
    "statfs": (137, 43),
    "statx": (332, 291),
    "sysinfo": (99, 179),
    "tgkill": (234, 131),
    "timerfd_create": (283, 85),
    "timerfd_gettime": (287, 87),
    "timerfd_settime": (286, 86),
    "uname": (63, 160),
    "unlink": (87, -1),
    "unlinkat": (263, 35),
    "wait4": (61, 260),
    "waitid": (247, 95),
    "write": (1, 64),
    "writev": (20, 66),
}
# Which of the two numbers, and the value of AUDIT_ARCH_*; both are little-endian.
_MACHINES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
# The calls whose third argument may ask for memory that can be run.
_MAY_MAKE_EXECUTABLE: Final = frozenset({"mmap", "mprotect"})

_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_MODE_FILTER: Final = 2
_SET_MODE_FILTER: Final = 1
_FLAG_TSYNC: Final = 1
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_PROT_EXEC: Final = 4

_INSTRUCTION: Final = struct.Struct("=HBBI")
_LOAD_WORD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
_AT_NUMBER: Final = 0
_AT_ARCHITECTURE: Final = 4
_AT_THIRD_ARGUMENT: Final = 32
_KILL: Final = 0x80000000
_ERROR: Final = 0x00050000
_ALLOW: Final = 0x7FFF0000


class SeccompUnavailable(VedetteError):
    """This kernel, machine or unit lets no filter be installed; what relies on one must not run."""

    fault: ClassVar[Fault] = Fault.HOST


def lock() -> None:
    """Make sure that no exec of this process or its children gains a privilege.

    Raises:
        SeccompUnavailable: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise SeccompUnavailable(_why())


def install(allowed: Iterable[str], *, deny: int = errno.EPERM) -> None:
    """Leave this process, in all its threads, the system calls in ``allowed`` for good.

    A call of another architecture ends the process. Exit and return from a signal are always left.

    Args:
        allowed: names out of `CALLS`; one that this machine does not have is left out.
        deny: the error number that every other call fails with.

    Raises:
        SeccompUnavailable: there is no filter now; the process is as it was but for `lock`.
        ValueError: a name that is not in `CALLS`.
    """
    machine = platform.machine()
    code = program(allowed, machine, deny=deny)
    lock()
    libc = ctypes.CDLL(None, use_errno=True)
    held = ctypes.create_string_buffer(code, len(code))
    filtered = struct.pack("@HP", len(code) // _INSTRUCTION.size, ctypes.addressof(held))
    if libc.syscall(_SECCOMP[machine], _SET_MODE_FILTER, _FLAG_TSYNC, filtered) == 0:
        return
    # A unit may forbid the newer call and leave this one, which covers one thread.
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise SeccompUnavailable(_why())
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, filtered, 0, 0) != 0:
        raise SeccompUnavailable(_why())


def program(allowed: Iterable[str], machine: str, *, deny: int = errno.EPERM) -> bytes:
    """Return the filter as the kernel reads it.

    Raises:
        SeccompUnavailable: the numbers of this machine are not known here.
        ValueError: a name that is not in `CALLS`.
    """
    if machine not in _MACHINES:
        raise SeccompUnavailable(f"seccomp: no system call numbers for {machine}")
    which, architecture = _MACHINES[machine]
    refuse = _RETURN, 0, 0, _ERROR | deny
    allow = _RETURN, 0, 0, _ALLOW
    lines = [
        (_LOAD_WORD, 0, 0, _AT_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD_WORD, 0, 0, _AT_NUMBER),
    ]
    for name in sorted({*allowed, "exit", "exit_group", "rt_sigreturn"}):
        if name not in CALLS:
            raise ValueError(f"no number is known for the system call {name!r}")
        number = CALLS[name][which]
        if number < 0:
            continue
        if name in _MAY_MAKE_EXECUTABLE:
            lines += [
                (_JUMP_EQUAL, 0, 4, number),
                (_LOAD_WORD, 0, 0, _AT_THIRD_ARGUMENT),
                (_JUMP_ANY_BIT, 0, 1, _PROT_EXEC),
                refuse,
                allow,
            ]
        else:
            lines += [(_JUMP_EQUAL, 0, 1, number), allow]
    lines.append(refuse)
    return b"".join(_INSTRUCTION.pack(*line) for line in lines)


def _why() -> str:
    return f"seccomp: {os.strerror(ctypes.get_errno())}"
