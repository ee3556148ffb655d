"""The kernel says what it was started with and what weakens it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.tables import kernel
from tests.agent.sense.tables.views import looking_at, shown, write

GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
HOST: dict[str, str | bytes] = {
    "proc/cmdline": "root=/dev/vda1 quiet\n",
    "proc/sys/kernel/tainted": "12289\n",
    "proc/sys/kernel/kptr_restrict": "1\n",
    "sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
    "sys/kernel/security/lsm": "lockdown,capability,apparmor",
    f"sys/firmware/efi/efivars/SecureBoot-{GLOBAL}": b"\6\0\0\0\1",
    f"sys/firmware/efi/efivars/SetupMode-{GLOBAL}": b"\6\0\0\0\0",
}


def values_of(root: Path) -> dict[object, object]:
    return {row["name"]: row["value"] for row in shown(kernel.TABLE, looking_at(root))}


def test_a_kernel_is_a_row_a_fact(tmp_path: Path) -> None:
    assert values_of(write(tmp_path, HOST)) == {
        "command_line": "root=/dev/vda1 quiet",
        "kernel.kptr_restrict": "1",
        "tainted": "proprietary module, module from outside the tree, unsigned module",
        "lockdown": "integrity",
        "security_modules": "lockdown,capability,apparmor",
        "secure_boot": "on",
        "setup_mode": "off",
    }


def test_a_host_without_uefi_says_so_and_a_kernel_without_lockdown_has_null(tmp_path: Path) -> None:
    values = values_of(write(tmp_path, {"proc/cmdline": "quiet"}))

    assert values["secure_boot"] == "not booted by UEFI"
    assert values["lockdown"] is None


def test_a_variable_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    looking = looking_at(write(tmp_path, {"proc/cmdline": "", "sys/firmware/efi/fw_vendor": ""}))

    shown(kernel.TABLE, looking)

    assert len(looking.problems) == 2


@pytest.mark.parametrize(
    ("data", "words"), [(b"0\n", "no"), (b"2097152", "bit 21"), (b"x", "unreadable")]
)
def test_a_taint_is_words(data: bytes, words: str) -> None:
    assert kernel.parse_taint(data) == words


@given(st.binary(max_size=100))
def test_any_bytes_are_something_a_kernel_may_say(data: bytes) -> None:
    assert kernel.parse_taint(data)
    assert kernel.parse_choice(data)
    assert kernel.parse_efi_flag(data) in {"on", "off", "unreadable"}
