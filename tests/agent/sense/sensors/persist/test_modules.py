"""Kernel modules are told with their taints, and what is said about loading them."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from agent.sense.sensors.persist.modules import commands, loaded, read, to_load
from tests.agent.sense.sensors.persist.looking import a_content, found_by, put, said


def test_loaded_modules_and_what_is_to_be_loaded_are_told(tmp_path: Path) -> None:
    put(
        tmp_path,
        "/proc/modules",
        "ext4 1 2 - Live 0x0\nevil 16384 0 - Live 0xffff (OE)\ncut 1\n",
    )
    put(tmp_path, "/etc/modules", "# c\nloop max=1\n")
    put(tmp_path, "/etc/modules-load.d/a.conf", "evil\n; c\n")
    put(tmp_path, "/etc/modules-load.d/a.txt", "no\n")
    put(tmp_path, "/usr/lib/modprobe.d/b.conf", "blacklist x\ninstall usb /bin/sh -c \\\n evil\n")

    assert said(found_by(read, tmp_path)) == [
        ("kernel_module", "ext4", UNSET),
        ("kernel_module", "evil", "taints=OE"),
        ("module_load", "loop", "loop max=1"),
        ("module_load", "evil", "evil"),
        ("module_command", "usb", "install /bin/sh -c  evil"),
    ]


@given(data=st.binary(max_size=300) | st.from_regex(rb"(install|remove|a) b .{0,9}\\?\n"))
def test_any_bytes_are_entries_or_none(data: bytes) -> None:
    for entries in (loaded, to_load, commands):
        assert all(one.item.name for one in entries(a_content(data)))
