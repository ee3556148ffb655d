"""Devices are disks with their partitions, what is on USB, and special files."""

import os
from pathlib import Path

import pytest

from agent.sense.tables import devices
from tests.agent.sense.tables.views import looking_at, shown, write

HOST: dict[str, str | bytes] = {
    "sys/block/sda/size": "2048\n",
    "sys/block/sda/dev": "8:0\n",
    "sys/block/sda/ro": "0\n",
    "sys/block/sda/removable": "1\n",
    "sys/block/sda/device/model": "Stick\n",
    "sys/block/sda/sda1/partition": "1\n",
    "sys/block/sda/sda1/size": "1024\n",
    "sys/block/sda/sda1/dev": "8:1\n",
    "sys/block/sda/slaves/x": "",
    "sys/block/loop0/size": "0\n",
    "sys/bus/usb/devices/1-1/idVendor": "0951\n",
    "sys/bus/usb/devices/1-1/idProduct": "1666\n",
    "sys/bus/usb/devices/1-1/product": "DataTraveler\n",
    "sys/bus/usb/devices/1-1:1.0/bInterfaceClass": "08\n",
}


def test_disks_partitions_and_usb_devices_are_rows(tmp_path: Path) -> None:
    looking = looking_at(write(tmp_path, HOST))

    disk, part, usb = shown(devices.TABLE, looking)

    assert (disk["kind"], disk["name"], disk["size_bytes"], disk["is_removable"]) == (
        "block",
        "sda",
        1 << 20,
        True,
    )
    assert (part["kind"], part["number"]) == ("partition", "8:1")
    assert (usb["number"], usb["model"], usb["serial"]) == ("0951:1666", "DataTraveler", None)
    assert looking.problems == []


@pytest.mark.root
def test_a_special_file_has_mode_and_owner(tmp_path: Path) -> None:
    write(tmp_path, HOST)
    (tmp_path / "dev/net").mkdir(parents=True)
    try:
        os.mknod(tmp_path / "dev/net/tun", 0o020666, os.makedev(10, 200))
    except PermissionError:
        pytest.skip("making a device needs root")

    *_, tun = shown(devices.TABLE, looking_at(tmp_path))

    assert (tun["kind"], tun["name"], tun["number"]) == ("character", "net/tun", "10:200")


def test_a_host_that_shows_no_disk_is_said(tmp_path: Path) -> None:
    looking = looking_at(tmp_path)

    assert shown(devices.TABLE, looking) == []
    assert looking.problems
