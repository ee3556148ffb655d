"""BPF programs that are loaded into the kernel: what watches, filters or changes from within.

The kernel is asked itself, one number after the other. That takes CAP_SYS_ADMIN, or CAP_BPF and
CAP_PERFMON for most; without it the table is not collected, and says so.

Source: bpf(2); the kernel's include/uapi/linux/bpf.h.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import Final

from agent.sense.tables.live import is_kernel_of
from agent.sense.tables.table import Looking, Row, Table, as_text

PROGRAMS_MAX: Final = 100_000

_SYSCALLS: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_GET_NEXT_ID: Final = 11
_GET_FD_BY_ID: Final = 13
_GET_INFO: Final = 15
_ATTR_BYTES: Final = 128
# bpf_prog_info up to the name: type, id, tag, sizes and places of the code, load time, user, number
# and place of its maps, name.
_INFO: Final = struct.Struct("=II8sIIQQQIIQ16s")
_START: Final = struct.Struct("=III")
_INFO_REQUEST: Final = struct.Struct("=IIQ")
_TYPES: Final = (
    "unspecified", "socket_filter", "kprobe", "sched_cls", "sched_act", "tracepoint", "xdp",
    "perf_event", "cgroup_skb", "cgroup_sock", "lwt_in", "lwt_out", "lwt_xmit", "sock_ops",
    "sk_skb", "cgroup_device", "sk_msg", "raw_tracepoint", "cgroup_sock_addr", "lwt_seg6local",
    "lirc_mode2", "sk_reuseport", "flow_dissector", "cgroup_sysctl", "raw_tracepoint_writable",
    "cgroup_sockopt", "tracing", "struct_ops", "ext", "lsm", "sk_lookup", "syscall", "netfilter",
)  # fmt: skip


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a program."""
    if not is_kernel_of(looking.host):
        looking.missed("bpf: this is not the kernel of the host")
        return
    call = _Call(looking)
    number = 0
    for _ in range(PROGRAMS_MAX):
        following = call.next_id(number)
        if following is None:
            return
        number = following
        info = call.info(number)
        if info is not None:
            row = parse_info(info)
            if row is not None:
                yield row


def parse_info(data: bytes) -> Row | None:
    """Return a program of a bpf_prog_info; None for a torn one."""
    if len(data) < _INFO.size:
        return None
    kind, number, tag, jited, xlated, _, _, loaded, uid, maps, _, name = _INFO.unpack_from(data)
    return {
        "id": number,
        "type": _TYPES[kind] if kind < len(_TYPES) else str(kind),
        "name": as_text(name.rstrip(b"\0")) or None,
        "tag": tag.hex(),
        "uid": uid,
        "loaded": loaded,
        "size_bytes": xlated,
        "is_compiled": jited > 0,
        "maps": maps,
    }


class _Call:
    """The system call; a refusal is noted once."""

    def __init__(self, looking: Looking) -> None:
        self._looking = looking
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long
        self._number = _SYSCALLS.get(os.uname().machine, 0)

    def next_id(self, after: int) -> int | None:
        attr = self._attr(_START.pack(after, 0, 0))
        if self._run(_GET_NEXT_ID, attr, is_end=True) < 0:
            return None
        following: int = _START.unpack_from(attr.raw)[1]
        return following

    def info(self, number: int) -> bytes | None:
        fd = self._run(_GET_FD_BY_ID, self._attr(_START.pack(number, 0, 0)), is_end=True)
        if fd < 0:
            return None  # unloaded meanwhile
        try:
            info = ctypes.create_string_buffer(_INFO.size)
            request = _INFO_REQUEST.pack(fd, _INFO.size, ctypes.addressof(info))
            return info.raw if self._run(_GET_INFO, self._attr(request)) >= 0 else None
        finally:
            os.close(fd)

    def _attr(self, data: bytes) -> "ctypes.Array[ctypes.c_char]":
        return ctypes.create_string_buffer(data, _ATTR_BYTES)

    def _run(
        self, command: int, attr: "ctypes.Array[ctypes.c_char]", *, is_end: bool = False
    ) -> int:
        if not self._number:
            self._looking.missed("bpf: not known for this kind of machine")
            return -1
        result: int = self._libc.syscall(
            ctypes.c_long(self._number),
            ctypes.c_long(command),
            attr,
            ctypes.c_long(_ATTR_BYTES),
        )
        number = ctypes.get_errno()
        if result < 0 and not (is_end and number == 2):  # ENOENT: there is no other
            self._looking.missed(f"bpf: {os.strerror(number).lower()}")
        return result


TABLE: Final = Table(
    text="BPF programs loaded into the kernel",
    columns={
        "id": "number of the program",
        "type": "what it is attached to",
        "name": "name its author gave; null for none",
        "tag": "digest of its instructions, as the kernel computes it",
        "uid": "user that loaded it",
        "loaded": "when, nanoseconds since boot",
        "size_bytes": "its instructions",
        "is_compiled": "whether it runs as machine code",
        "maps": "number of maps it uses",
    },
    rows=rows,
    is_live=True,
)
