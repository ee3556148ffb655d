"""Audit records as the kernel writes them, and an owner of rules, for tests."""

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from agent.sense.sensors.auditrule import Owner
from agent.sense.sensors.procfs import parse_stat

SYSCALL, PATH, CWD, EXECVE, EOE, PROCTITLE = 1300, 1302, 1307, 1309, 1320, 1327
LONGEST = 7500
WALL_S, WALL_MS = 1_790_000_000, 123


def a_value(data: bytes, *, force_hex: bool = False) -> bytes:
    """Write what a stranger chose, as audit_log_n_untrustedstring does."""
    if force_hex or any(byte < 0x21 or byte > 0x7E or byte == 0x22 for byte in data):
        return data.hex().upper().encode()
    return b'"' + data + b'"'


def a_datagram(kind: int, serial: int, text: bytes = b"") -> bytes:
    record = b"audit(%d.%03d:%d): %s" % (WALL_S, WALL_MS, serial, text)
    return struct.pack("=IHHII", 16 + len(record), kind, 0, 0, 0) + record


def a_syscall(*, pid: int = 4242, success: bool = True, call: int = 59, exe: bytes = b"/bin/ls",
              arch: bytes = b"c000003e", tty: bytes = b"pts0") -> bytes:  # fmt: skip
    return (
        b"arch=%s syscall=%d success=%s exit=0 a0=55d a1=55e a2=55f a3=8 items=2 ppid=41 pid=%d"
        b" auid=1000 uid=1001 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=%s ses=3"
        b' comm="ls" exe=%s subj=/usr/bin/x (enforce) key="k"'
    ) % (arch, call, b"yes" if success else b"no", pid, tty, a_value(exe))


def execve_texts(argv: Sequence[bytes], longest: int = LONGEST) -> list[bytes]:
    """Write arguments over as many records as the kernel would."""
    texts, now = [], b"argc=%d" % len(argv)
    for at, argument in enumerate(argv):
        if len(argument) <= longest // 2:
            words = [b" a%d=%s" % (at, a_value(argument))]
        else:
            size = longest // 2
            pieces = [argument[i : i + size] for i in range(0, len(argument), size)]
            words = [
                b" a%d[%d]=%s" % (at, i, a_value(piece, force_hex=True))
                for i, piece in enumerate(pieces)
            ]
            words[0] = b" a%d_len=%d" % (at, 2 * len(argument)) + words[0]
        for word in words:
            if len(now) + len(word) > longest + 600:
                texts.append(now)
                now = b""
            now += word
    return [*texts, now]


def an_exec(serial: int, argv: Sequence[bytes], *, pid: int = 4242) -> list[bytes]:
    """Return the datagrams of one exec."""
    return [
        a_datagram(SYSCALL, serial, a_syscall(pid=pid)),
        *(a_datagram(EXECVE, serial, text) for text in execve_texts(argv)),
        a_datagram(CWD, serial, b"cwd=" + a_value(b"/home/some one")),
        a_datagram(PATH, serial, b'item=0 name="/bin/ls" inode=5 dev=08:01 nametype=NORMAL'),
        a_datagram(PATH, serial, b'item=1 name="/lib64/ld.so" inode=6 nametype=NORMAL'),
        a_datagram(PROCTITLE, serial, b"proctitle=" + a_value(b"\0".join(argv)[:128])),
        a_datagram(EOE, serial),
    ]


def this_process() -> Owner:
    """Return ourselves as an owner: no agent beside the test takes our rules for left behind."""
    return Owner(os.getpid(), parse_stat(Path("/proc/self/stat").read_bytes()).start)
