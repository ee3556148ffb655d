"""Capabilities that a file gives to whoever runs it: the typed reading of one extended attribute.

Source: capabilities(7) "File capability extended attribute versioning", ``vfs_cap_data`` of
linux/capability.h: a little-endian word of revision and flags, then one or two pairs of permitted
and inheritable words, then in the third revision the user id that is root of its namespace.
"""

import struct
from typing import ClassVar, Final

from msgspec import Struct

from runtime.errors import Fault, VedetteError

XATTR: Final = "security.capability"
XATTR_BYTES_MAX: Final = 64

_REVISION: Final = 0xFF00_0000
_EFFECTIVE: Final = 0x1
# Size and pairs of each revision.
_FORMS: Final = {0x0100_0000: (12, 1), 0x0200_0000: (20, 2), 0x0300_0000: (24, 2)}

NAMES: Final = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
]


class CapabilityDamaged(VedetteError):
    """The attribute has no form that the kernel knows."""

    fault: ClassVar[Fault] = Fault.HOST


class FileCapabilities(Struct, frozen=True):
    """What a file gives; the numbers are sets of bits, ``root`` the root of revision 3 or None."""

    permitted: int
    inheritable: int
    is_effective: bool
    root: int | None = None

    @property
    def text(self) -> str:
        """The capabilities as getcap(8) writes them: ``cap_setuid,cap_net_raw=ep``."""
        parts = []
        for flags, bits in (
            ("ep" if self.is_effective else "p", self.permitted & ~self.inheritable),
            ("eip" if self.is_effective else "ip", self.permitted & self.inheritable),
            ("ei" if self.is_effective else "i", self.inheritable & ~self.permitted),
        ):
            if bits:
                parts.append(",".join(names(bits)) + "=" + flags)
        text = " ".join(parts) or "="
        return text if self.root is None else f"{text} root={self.root}"


def parse(data: bytes) -> FileCapabilities:
    """Return what the attribute says.

    Args:
        data: untrusted.

    Raises:
        CapabilityDamaged: it is none.
    """
    if len(data) < 4:
        raise CapabilityDamaged("a capability attribute is too short")
    (magic,) = struct.unpack_from("<I", data)
    size, pairs = _FORMS.get(magic & _REVISION, (0, 0))
    if len(data) != size or magic & ~(_REVISION | _EFFECTIVE):
        raise CapabilityDamaged("a capability attribute of unknown revision or size")
    words = struct.unpack_from(f"<{2 * pairs}I", data, 4)
    permitted = sum(word << 32 * place for place, word in enumerate(words[::2]))
    inheritable = sum(word << 32 * place for place, word in enumerate(words[1::2]))
    root = struct.unpack_from("<I", data, 20)[0] if size == 24 else None
    return FileCapabilities(permitted, inheritable, bool(magic & _EFFECTIVE), root)


def names(bits: int) -> list[str]:
    """Return the names of a set; one that has no name yet is told by its number."""
    return [
        f"cap_{NAMES[place]}" if place < len(NAMES) else f"cap_{place}"
        for place in range(bits.bit_length())
        if bits >> place & 1
    ]
