"""The kernel: what it was started with, whether it is locked down, and what weakens it.

Source: the kernel's sysctl/kernel.rst, tainted-kernels.rst, kernel_lockdown(7); UEFI 2.10 part 3.3.
"""

import re
from collections.abc import Iterator
from typing import Final

from agent.sense.tables.table import Looking, Row, Table, as_text, number

_SYSCTL: Final = "/proc/sys"
_SYSCTLS: Final = (
    "kernel/osrelease",
    "kernel/version",
    "kernel/modules_disabled",
    "kernel/kexec_load_disabled",
    "kernel/kptr_restrict",
    "kernel/dmesg_restrict",
    "kernel/perf_event_paranoid",
    "kernel/randomize_va_space",
    "kernel/unprivileged_bpf_disabled",
    "kernel/unprivileged_userns_clone",
    "kernel/yama/ptrace_scope",
    "kernel/sysrq",
    "kernel/core_pattern",
    "kernel/modprobe",
    "user/max_user_namespaces",
    "net/core/bpf_jit_harden",
    "fs/suid_dumpable",
)
_LOCKDOWN: Final = "/sys/kernel/security/lockdown"
_LSM: Final = "/sys/kernel/security/lsm"
_EFI: Final = "/sys/firmware/efi"
# Names of UEFI's global variables end in the vendor id of the specification.
_GLOBAL: Final = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_EFI_BYTES: Final = 5  # four of attributes, one of value
TAINTS: Final = (
    "proprietary module", "forced load", "out of specification", "forced unload", "machine check",
    "bad page", "requested by a user", "died before", "ACPI table overridden", "warned before",
    "staging driver", "firmware workaround", "module from outside the tree", "unsigned module",
    "soft lockup", "live patched", "auxiliary", "structure randomisation", "in-kernel test",
    "fwctl mutated",
)  # fmt: skip


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a fact."""
    line = looking.need("/proc/cmdline")
    if line is not None:
        yield _row("command_line", as_text(line.strip(), 8192), "/proc/cmdline")
    for name in _SYSCTLS:
        path = f"{_SYSCTL}/{name}"
        data = looking.maybe(path)
        if data is not None:
            yield _row(name.replace("/", "."), as_text(data.strip()), path)
    taint = looking.maybe(f"{_SYSCTL}/kernel/tainted")
    if taint is not None:
        yield _row("tainted", parse_taint(taint), f"{_SYSCTL}/kernel/tainted")
    yield from _locks(looking)
    yield from _secure_boot(looking)


def _locks(looking: Looking) -> Iterator[Row]:
    lockdown = looking.maybe(_LOCKDOWN)
    yield _row("lockdown", None if lockdown is None else parse_choice(lockdown), _LOCKDOWN)
    modules = looking.maybe(_LSM)
    yield _row("security_modules", None if modules is None else as_text(modules.strip()), _LSM)


def _secure_boot(looking: Looking) -> Iterator[Row]:
    if not looking.entries(_EFI):
        yield _row("secure_boot", "not booted by UEFI", _EFI)
        return
    for name, variable in (("secure_boot", "SecureBoot"), ("setup_mode", "SetupMode")):
        path = f"{_EFI}/efivars/{variable}-{_GLOBAL}"
        data = looking.need(path)
        if data is not None:
            yield _row(name, parse_efi_flag(data), path)


def parse_taint(data: bytes) -> str:
    """Return the words for the bits of a taint mask; a bit without a word by its number."""
    mask = number(data.strip(), 18)
    if mask is None:
        return "unreadable"
    words = [
        TAINTS[bit] if bit < len(TAINTS) else f"bit {bit}"
        for bit in range(mask.bit_length())
        if mask >> bit & 1
    ]
    return ", ".join(words) or "no"


def parse_choice(data: bytes) -> str:
    """Return the chosen word of a file such as ``none [integrity] confidentiality``."""
    found = re.search(rb"\[([a-z_]{1,64})\]", data)
    return found[1].decode() if found else "unreadable"


def parse_efi_flag(data: bytes) -> str:
    """Return what a one-byte UEFI variable says."""
    known = {0: "off", 1: "on"}
    return known.get(data[4], "unreadable") if len(data) == _EFI_BYTES else "unreadable"


def _row(name: str, value: str | None, origin: str) -> Row:
    return {"name": name, "value": value, "origin": origin}


TABLE: Final = Table(
    text="command line, lockdown, secure boot, taint, and settings that weaken the kernel",
    columns={
        "name": "which fact",
        "value": "its value; null where the kernel does not have it",
        "origin": "where it was read",
    },
    rows=rows,
    shown=("name", "value"),
)
