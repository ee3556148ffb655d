"""A module is shown by each list that knows it."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.tables import modules
from tests.agent.sense.tables.views import looking_at, shown, write

HOST: dict[str, str | bytes] = {
    "proc/version": "Linux",
    "proc/modules": "nfs 100 2 nfsd,lockd, Live 0x0000000000000000 (OE)\nvfat 7 0 - Live 0x0\nx\n",
    "sys/module/nfs/initstate": "live",
    "sys/module/nfs/taint": "OE\n",
    "sys/module/vfat/taint": "\n",
    "sys/module/secret/initstate": "live",
    "sys/module/builtin/parameters/x": "1",
}


def test_modules_of_both_lists_are_rows(tmp_path: Path) -> None:
    nfs, vfat, secret = shown(modules.TABLE, looking_at(write(tmp_path, HOST)))

    assert (nfs["used_by"], nfs["taint"], nfs["listed_by"]) == (
        ["nfsd", "lockd"],
        "OE",
        ["kernel", "sysfs"],
    )
    assert (vfat["taint"], vfat["listed_by"]) == (None, ["kernel"])
    assert secret == {"name": "secret", "listed_by": ["sysfs"]}


def test_a_kernel_that_can_load_none_has_none(tmp_path: Path) -> None:
    looking = looking_at(write(tmp_path, {"proc/version": "Linux"}))

    assert shown(modules.TABLE, looking) == []
    assert looking.problems == []


def test_a_kernel_that_can_and_lists_none_is_said(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"proc/version": "", "proc/sys/kernel/modules_disabled": "0"}
    looking = looking_at(write(tmp_path, files))

    assert shown(modules.TABLE, looking) == []
    assert looking.problems


@given(st.binary(max_size=300))
def test_any_bytes_give_modules(data: bytes) -> None:
    for row in modules.parse_modules(data):
        assert set(row) <= set(modules.TABLE.columns)
