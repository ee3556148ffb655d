"""Facts are as the host says them; what it does not say is left out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostFileDenied, HostRoot
from agent.sense.sensors import hostfacts
from agent.sense.sensors.hostfacts import FactListing, facts
from agent.sense.sensors.listings import Unread
from proto.model import Setting
from tests.agent.sense.sensors.listed import finished

MACHINE_ID = "0123456789abcdef0123456789abcdef"


def write(root: Path, **files: str) -> Path:
    for path, text in files.items():
        made = root / path
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(text)
    return root


def a_host(root: Path) -> Path:
    return write(
        root,
        **{
            "etc/os-release": 'ID=debian\nPRETTY_NAME="Debian \\"12\\""\nVERSION_ID=12\n# x=y\n',
            "etc/machine-id": f"{MACHINE_ID}\n",
            "proc/sys/kernel/osrelease": "6.1.0-13-amd64\n",
            "proc/sys/kernel/arch": "x86_64\n",
            "proc/stat": "cpu 1 2\nbtime 1700000000\n",
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor\n\n"
            "processor\t: 1\nmodel name\t: AMD EPYC\n",
            "proc/meminfo": "MemTotal:        2048 kB\nMemFree: 1 kB\n",
            "sys/block/sda/size": "1024\n",
            "sys/block/sda/device/model": "QEMU HARDDISK\n",
            "sys/block/loop0/size": "99\n",
            "sys/class/dmi/id/sys_vendor": "QEMU\n",
            "sys/class/dmi/id/product_name": "Standard PC\n",
            "etc/timezone": "Europe/Berlin\n",
        },
    )


def values_of(root: Path) -> dict[str, object]:
    return {fact.name: fact.value for fact in facts(HostRoot(root))}


def test_a_host_says_what_it_is(tmp_path: Path) -> None:
    values = values_of(a_host(tmp_path))

    assert values.pop("machine.id_digest") != MACHINE_ID
    assert values == {
        "os.id": "debian",
        "os.name": 'Debian "12"',
        "os.version": "12",
        "kernel.release": "6.1.0-13-amd64",
        "machine.architecture": "x86_64",
        "boot.time": "1700000000",
        "cpu.model": "AMD EPYC",
        "cpu.count": "2",
        "memory.bytes": "2097152",
        "disk.sda.bytes": "524288",
        "disk.sda.model": "QEMU HARDDISK",
        "dmi.sys_vendor": "QEMU",
        "dmi.product_name": "Standard PC",
        "virtualisation.machine": "qemu",
        "timezone": "Europe/Berlin",
    }


def test_the_machine_id_leaves_the_host_as_a_digest_that_is_always_the_same(tmp_path: Path) -> None:
    values = values_of(a_host(tmp_path))

    assert values["machine.id_digest"] == values_of(tmp_path)["machine.id_digest"]
    assert MACHINE_ID not in str(values)


def test_the_zone_is_what_the_clock_file_leads_to(tmp_path: Path) -> None:
    a_host(tmp_path)
    (tmp_path / "etc/localtime").symlink_to("/usr/share/zoneinfo/America/New_York")

    assert values_of(tmp_path)["timezone"] == "America/New_York"


def test_a_container_of_a_virtual_machine_is_both(tmp_path: Path) -> None:
    write(a_host(tmp_path), **{"run/systemd/container": "lxc\n"})

    values = values_of(tmp_path)

    assert values["virtualisation.container"] == "lxc"
    assert values["virtualisation.machine"] == "qemu"


@pytest.mark.parametrize(
    ("vendor", "name"),
    [
        ("Amazon EC2 t3.micro", "amazon"),
        ("Microsoft Corporation Virtual Machine", "hyper-v"),
        ("Microsoft Corporation Surface", None),
        ("Dell Inc. PowerEdge", None),
        ("VMware, Inc. VMware7,1", "vmware"),
    ],
)
def test_a_vendor_tells_of_a_virtual_machine_or_not(vendor: str, name: str | None) -> None:
    assert hostfacts.hypervisor_of(vendor) == name


def test_a_clock_that_was_set_makes_no_other_boot(tmp_path: Path) -> None:
    listing = FactListing(HostRoot(tmp_path), 3600)
    first, near, far = (Setting("boot.time", value) for value in ("1000", "1009", "9000"))

    assert listing.is_same(first, near)
    assert not listing.is_same(first, far)
    assert not listing.is_same(Setting("cpu.count", "1"), Setting("cpu.count", "2"))


def test_the_facts_are_a_listing(tmp_path: Path) -> None:
    listed = finished(FactListing(HostRoot(a_host(tmp_path)), 3600).read())

    assert listed.things[b"os.id"] == Setting("os.id", "debian", "/etc/os-release")


def test_no_proc_of_a_host_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unread) as refused:
        finished(FactListing(HostRoot(tmp_path), 3600).read())

    assert not refused.value.is_absent


def test_what_is_there_and_closed_is_told_to_whoever_asks(tmp_path: Path) -> None:
    class Closed(HostRoot):
        def read_bytes(self, path: str | bytes, size_bytes_max: int) -> bytes:
            if "product_name" in str(path):
                raise HostFileDenied(str(path), "permission denied")
            return super().read_bytes(path, size_bytes_max)

    closed: list[str] = []

    found = {fact.name for fact in facts(Closed(a_host(tmp_path)), closed)}

    assert "dmi.product_name" not in found
    assert set(closed) == {"/sys/class/dmi/id/product_name: permission denied"}


@given(st.binary(max_size=400))
def test_any_bytes_give_facts(data: bytes) -> None:
    assert isinstance(hostfacts.parse_os_release(data), dict)
    model, count, _ = hostfacts.parse_cpuinfo(data)
    assert len(model) <= 1024
    assert count >= 0
    assert (hostfacts.parse_memory(data) or 0) >= 0
