"""What the host is: its system, kernel, hardware and place, as settings with where they were read.

A fact is as the host says it; none is guessed. The machine id is told only as a digest of ours, as
systemd asks: whoever knows the id itself could recognise the machine elsewhere.

Source: os-release(5), proc(5), machine-id(5), the kernel's sysfs-firmware-dmi and sysfs-block.
"""

import hashlib
import hmac
import os
import re
from collections.abc import Generator, Iterator
from typing import Final

from agent.hostroot import HostFileDenied, HostFileError, HostRoot
from agent.hosttext import host_text
from agent.sense.sensors.listings import Listed, Look, Thing, Things, Unread, key_of
from agent.sense.sensors.replacewatch import ReplaceWatch
from proto.model import Setting

FILE_BYTES_MAX: Final = 1 << 20
DISKS_MAX: Final = 256
CLOCK_SLACK_S: Final = 600

_VALUE_CHARS_MAX: Final = 1024
_SECTOR_BYTES: Final = 512
_KIB: Final = 1024
_MACHINE_ID_USE: Final = b"vedette/machine-id/1"
_OS_RELEASE: Final = {
    "ID": "os.id",
    "PRETTY_NAME": "os.name",
    "VERSION_ID": "os.version",
    "VERSION_CODENAME": "os.codename",
}
_KERNEL: Final = {
    "kernel.release": "/proc/sys/kernel/osrelease",
    "kernel.version": "/proc/sys/kernel/version",
    "host.name": "/proc/sys/kernel/hostname",
    "boot.id": "/proc/sys/kernel/random/boot_id",
}
_DMI: Final = "/sys/class/dmi/id"
_DMI_NAMES: Final = (
    "sys_vendor",
    "product_name",
    "product_version",
    "product_serial",
    "product_uuid",
    "board_vendor",
    "board_name",
    "board_asset_tag",
    "bios_vendor",
    "bios_version",
    "bios_date",
    "chassis_asset_tag",
)
_BOOT_TIME: Final = "boot.time"
_NOT_DISKS: Final = re.compile(r"(?:loop|ram|zram|sr|fd|nbd)[0-9]+")
_HYPERVISORS: Final = (
    ("amazon ec2", "amazon"),
    ("google", "google"),
    ("vmware", "vmware"),
    ("microsoft corporation virtual machine", "hyper-v"),
    ("innotek", "virtualbox"),
    ("virtualbox", "virtualbox"),
    ("xen", "xen"),
    ("openstack", "kvm"),
    ("kvm", "kvm"),
    ("qemu", "qemu"),
    ("parallels", "parallels"),
    ("bhyve", "bhyve"),
)
_CONTAINER_SIGNS: Final = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}


class FactListing:
    """The facts of a host.

    Args:
        host: the only way to them.
        interval_s: how often to look.
    """

    name = "facts"
    coverage = "what the system and the kernel say of the host"
    watch: ReplaceWatch | None = None

    def __init__(self, host: HostRoot, interval_s: int) -> None:
        self.interval_s = interval_s
        self._host = host

    def look(self) -> Look:
        """Return that only reading tells."""
        return Look(b"")

    def read(self) -> Generator[None, None, Listed]:
        """Read the facts, one a step.

        Raises:
            Unread: this is no /proc of a host.
        """
        try:
            self._host.stat(_KERNEL["kernel.release"])
        except HostFileError as error:
            raise Unread(error.message) from error
        found: Things = {}
        for fact in facts(self._host):
            found[key_of(fact.name)] = fact
            yield
        return Listed(found)

    def is_same(self, before: Thing, now: Thing) -> bool:
        """Return whether they are equal, or the same boot told with a clock that was set since."""
        if before == now:
            return True
        if not (isinstance(before, Setting) and isinstance(now, Setting)):
            return False
        if before.name != _BOOT_TIME:
            return False
        try:
            return abs(int(str(before.value)) - int(str(now.value))) < CLOCK_SLACK_S
        except ValueError:
            return False

    def fresh(self, thing: Thing) -> Thing:
        """Return the fact as it is: none changes all the time."""
        return thing


def facts(host: HostRoot, closed: list[str] | None = None) -> Iterator[Setting]:
    """Yield what can be read of a host; what cannot is left out.

    Args:
        host: the only way to it.
        closed: takes what is there and may not be read.
    """
    read = _Reader(host, closed)
    yield from _system(read)
    yield from _hardware(read)
    yield from _disks(read, host)
    yield from _dmi(read)
    yield from _place(read)


def parse_os_release(data: bytes) -> dict[str, str]:
    """Return the assignments of an os-release; a later one counts."""
    found: dict[str, str] = {}
    for line in data.decode("utf-8", "backslashreplace").split("\n"):
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            found[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if quoted else value
    return found


def parse_cpuinfo(data: bytes) -> tuple[str, int, bool]:
    """Return the model, the number of processors, and whether a hypervisor is said to be below."""
    model, count, is_guest = "", 0, False
    for line in data.split(b"\n"):
        key, colon, value = line.partition(b":")
        name = key.strip().lower()
        if not colon:
            continue
        count += name == b"processor" and value.strip().isdigit()
        if name in {b"model name", b"cpu", b"hardware"} and not model:
            model = host_text(value.strip(), _VALUE_CHARS_MAX)
        is_guest = is_guest or (name == b"flags" and b" hypervisor" in value)
    return model, count, is_guest


def parse_memory(data: bytes) -> int | None:
    """Return the bytes of memory that /proc/meminfo counts."""
    found = re.search(rb"^MemTotal:\s{1,32}(\d{1,15}) kB$", data, re.MULTILINE)
    return int(found[1]) * _KIB if found else None


def hypervisor_of(vendor: str) -> str | None:
    """Return the name of what the vendor and product of a virtual machine belong to."""
    lower = vendor.lower()
    return next((name for sign, name in _HYPERVISORS if sign in lower), None)


class _Reader:
    """Reads small files; None where one cannot be read."""

    def __init__(self, host: HostRoot, closed: list[str] | None) -> None:
        self._host = host
        self._closed = closed

    def bytes(self, path: str) -> bytes | None:
        try:
            return self._host.read_bytes(path, FILE_BYTES_MAX)
        except HostFileDenied as error:
            if self._closed is not None:
                self._closed.append(error.message)
        except HostFileError:
            pass  # not there, or nothing that says anything
        return None

    def text(self, path: str) -> str:
        return host_text((self.bytes(path) or b"").strip(), _VALUE_CHARS_MAX)

    def link(self, path: str) -> str:
        try:
            return self._host.readlink(path)
        except HostFileError:
            return ""

    def is_there(self, path: str) -> bool:
        try:
            self._host.stat(path)
        except HostFileError:
            return False
        return True


def _setting(name: str, value: str, origin: str) -> Iterator[Setting]:
    if value:
        text = host_text(value, _VALUE_CHARS_MAX)
        yield Setting(name=host_text(name, 256), value=text, origin=host_text(origin, 256))


def _system(read: _Reader) -> Iterator[Setting]:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        if (data := read.bytes(path)) is not None:
            release = parse_os_release(data)
            for key, name in _OS_RELEASE.items():
                yield from _setting(name, release.get(key, ""), path)
            break
    for name, path in _KERNEL.items():
        yield from _setting(name, read.text(path), path)
    arch = read.text("/proc/sys/kernel/arch")
    yield from _setting("machine.architecture", arch or os.uname().machine, "uname")
    for line in (read.bytes("/proc/stat") or b"").split(b"\n"):
        if line.startswith(b"btime ") and line[6:].isdigit():
            yield from _setting(_BOOT_TIME, line[6:22].decode(), "/proc/stat")
    machine = read.text("/etc/machine-id")
    if re.fullmatch(r"[0-9a-f]{32}", machine):
        digest = hmac.new(bytes.fromhex(machine), _MACHINE_ID_USE, hashlib.sha256).hexdigest()
        yield from _setting("machine.id_digest", digest, "/etc/machine-id")


def _hardware(read: _Reader) -> Iterator[Setting]:
    model, count, _ = parse_cpuinfo(read.bytes("/proc/cpuinfo") or b"")
    yield from _setting("cpu.model", model, "/proc/cpuinfo")
    yield from _setting("cpu.count", str(count or ""), "/proc/cpuinfo")
    memory = parse_memory(read.bytes("/proc/meminfo") or b"")
    yield from _setting("memory.bytes", str(memory or ""), "/proc/meminfo")


def _disks(read: _Reader, host: HostRoot) -> Iterator[Setting]:
    try:
        names = sorted(e.name for e in host.scandir("/sys/block"))
    except HostFileError:
        return
    for name in [name for name in names if not _NOT_DISKS.fullmatch(name)][:DISKS_MAX]:
        here = f"/sys/block/{name}"
        sectors = read.text(f"{here}/size")
        if sectors.isdecimal() and sectors.isascii() and len(sectors) < 16:
            size = str(int(sectors) * _SECTOR_BYTES)
            yield from _setting(f"disk.{name}.bytes", size, here)
        yield from _setting(f"disk.{name}.model", read.text(f"{here}/device/model"), here)


def _dmi(read: _Reader) -> Iterator[Setting]:
    for name in _DMI_NAMES:
        path = f"{_DMI}/{name}"
        yield from _setting(f"dmi.{name}", read.text(path), path)


def _place(read: _Reader) -> Iterator[Setting]:
    yield from _virtualisation(read)
    zone = read.link("/etc/localtime").rpartition("zoneinfo/")[2]
    yield from _setting("timezone", zone or read.text("/etc/timezone"), "/etc/localtime")


def _virtualisation(read: _Reader) -> Iterator[Setting]:
    container = read.text("/run/systemd/container")
    for path, name in _CONTAINER_SIGNS.items():
        container = container or (name if read.is_there(path) else "")
    yield from _setting("virtualisation.container", container, "/run/systemd/container")
    vendor = " ".join(read.text(f"{_DMI}/{name}") for name in ("sys_vendor", "product_name"))
    machine = hypervisor_of(vendor) or read.text("/sys/hypervisor/type")
    if not machine and parse_cpuinfo(read.bytes("/proc/cpuinfo") or b"")[2]:
        machine = "unknown"
    yield from _setting("virtualisation.machine", machine, _DMI)
