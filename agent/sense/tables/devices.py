"""Devices: disks and their partitions, what is plugged into USB, and special files worth a look.

Source: sysfs(5); the kernel's sysfs-block and sysfs-bus-usb.
"""

import os
import re
import stat
from collections.abc import Iterator
from typing import Final

from agent.hostroot import HostFileError, HostFileMissing
from agent.sense.tables.table import Looking, Row, Table, number

DEVICES_MAX: Final = 4096

_SECTOR_BYTES: Final = 512
# Whoever may open one of these reaches memory, hardware, the network or other machines past the
# usual checks.
SPECIAL: Final = (
    "autofs", "cpu_dma_latency", "cuse", "dri/card0", "fuse", "input/mice", "kmem", "kmsg", "kvm",
    "loop-control", "mapper/control", "mem", "net/tun", "nvidia0", "port", "rfkill", "snapshot",
    "tpm0", "tpmrm0", "uhid", "uinput", "userfaultfd", "vfio/vfio", "vhost-net", "vhost-vsock",
    "video0", "vsock",
)  # fmt: skip
_USB: Final = "/sys/bus/usb/devices"
_USB_DEVICE: Final = re.compile(r"(?:usb[0-9]{1,3}|[0-9]{1,3}-[0-9.]{1,32})")


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a device."""
    yield from _blocks(looking)
    yield from _usb(looking)
    yield from _specials(looking)


def _blocks(looking: Looking) -> Iterator[Row]:
    names = looking.entries("/sys/block")
    if not names:
        looking.missed("/sys/block: no disk to be seen")
    for name in names[:DEVICES_MAX]:
        here = f"/sys/block/{name}"
        whole = _block(looking, here, name)
        if name.startswith(("loop", "ram", "zram")) and not whole["size_bytes"]:
            continue  # made in advance, and nothing in it
        yield whole | {
            "model": looking.text(f"{here}/device/model"),
            "vendor": looking.text(f"{here}/device/vendor"),
            "serial": looking.text(f"{here}/device/serial") or looking.text(f"{here}/serial"),
            "is_removable": looking.text(f"{here}/removable") == "1",
        }
        for part in looking.entries(here):
            if part.startswith(name) and looking.text(f"{here}/{part}/partition") is not None:
                yield _block(looking, f"{here}/{part}", part) | {"kind": "partition"}


def _block(looking: Looking, here: str, name: str) -> Row:
    sectors = number(looking.text(f"{here}/size") or "", 15)
    return {
        "kind": "block",
        "name": name.replace("!", "/"),
        "number": looking.text(f"{here}/dev"),
        "size_bytes": None if sectors is None else sectors * _SECTOR_BYTES,
        "is_read_only": looking.text(f"{here}/ro") == "1",
    }


def _usb(looking: Looking) -> Iterator[Row]:
    for name in looking.entries(_USB)[:DEVICES_MAX]:
        if not _USB_DEVICE.fullmatch(name):
            continue
        here = f"{_USB}/{name}"
        ids = [looking.text(f"{here}/{part}") for part in ("idVendor", "idProduct")]
        yield {
            "kind": "usb",
            "name": name,
            "number": ":".join(part or "?" for part in ids),
            "vendor": looking.text(f"{here}/manufacturer"),
            "model": looking.text(f"{here}/product"),
            "serial": looking.text(f"{here}/serial"),
            "class": looking.text(f"{here}/bDeviceClass"),
        }


def _specials(looking: Looking) -> Iterator[Row]:
    for name in SPECIAL:
        try:
            seen = looking.host.stat(f"/dev/{name}")
        except HostFileMissing:
            continue
        except HostFileError as error:
            looking.missed(error.message)
            continue
        if stat.S_ISCHR(seen.st_mode):
            yield {
                "kind": "character",
                "name": name,
                "number": f"{os.major(seen.st_rdev)}:{os.minor(seen.st_rdev)}",
                "mode": f"{stat.S_IMODE(seen.st_mode):04o}",
                "uid": seen.st_uid,
                "gid": seen.st_gid,
            }


TABLE: Final = Table(
    text="disks, partitions, USB devices, and special files that give much away",
    columns={
        "kind": "block, partition, usb or character",
        "name": "name below /dev, or of the place on the bus",
        "number": "major and minor number; vendor and product of a USB device",
        "size_bytes": "size of a disk or partition",
        "vendor": "who made it, in its own words",
        "model": "what it is, in its own words",
        "serial": "serial number, where it tells",
        "class": "class of a USB device, hexadecimal; 00 where each interface has its own",
        "is_removable": "whether the disk can be taken out",
        "is_read_only": "whether the disk or partition refuses writes",
        "mode": "permission bits of a special file, octal",
        "uid": "owner of a special file",
        "gid": "group of a special file",
    },
    rows=rows,
    shown=("kind", "name", "number", "size_bytes", "vendor", "model", "mode"),
)
