"""The capability attribute is read as the kernel writes it, or it is none."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.persist.filecaps import XATTR, CapabilityDamaged, parse

V1 = struct.pack("<III", 0x0100_0001, 1 << 7, 0)
V2 = struct.pack("<IIIII", 0x0200_0001, 1 << 7 | 1 << 13, 0, 1 << 8, 0)
V3 = struct.pack("<IIIIII", 0x0300_0000, 1 << 10, 1 << 12, 0, 0, 100_000)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(V1, "cap_setuid=ep", id="1"),
        pytest.param(V2, "cap_setuid,cap_net_raw,cap_checkpoint_restore=ep", id="2"),
        pytest.param(V3, "cap_net_bind_service=p cap_net_admin=i root=100000", id="3"),
        pytest.param(struct.pack("<IIIII", 0x0200_0000, 0, 0, 1 << 31, 0), "cap_63=p", id="new"),
        pytest.param(
            struct.pack("<III", 0x0100_0000, 3, 3), "cap_chown,cap_dac_override=ip", id="ip"
        ),
        pytest.param(struct.pack("<III", 0x0100_0000, 0, 0), "=", id="none"),
    ],
)
def test_each_revision_is_read(data: bytes, text: str) -> None:
    assert parse(data).text == text


@pytest.mark.parametrize(
    "data", [b"", b"\1", V1[:-1], V2 + b"\0", struct.pack("<III", 0x0400_0000, 0, 0)]
)
def test_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(CapabilityDamaged):
        parse(data)


def test_what_the_kernel_keeps_is_what_was_set(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.touch()
    try:
        os.setxattr(file, XATTR, V2)
    except OSError as error:
        pytest.skip(f"no file capabilities here: {error}")

    assert parse(os.getxattr(file, XATTR)).text == parse(V2).text


def test_the_words_are_those_of_getcap(tmp_path: Path) -> None:
    if shutil.which("getcap") is None:
        pytest.skip("no getcap here")
    file = tmp_path / "x"
    file.touch()
    try:
        os.setxattr(file, XATTR, struct.pack("<IIIII", 0x0200_0001, 1 << 7, 0, 0, 0))
    except OSError as error:
        pytest.skip(f"no file capabilities here: {error}")
    done = subprocess.run(["getcap", str(file)], capture_output=True, check=True, text=True)

    assert parse(os.getxattr(file, XATTR)).text in done.stdout


@given(
    data=st.binary(max_size=30)
    | st.sampled_from([V1, V2, V3]).flatmap(
        lambda whole: st.binary(min_size=len(whole) - 4, max_size=len(whole) - 4).map(
            lambda rest: whole[:4] + rest
        )
    )
)
def test_any_bytes_are_capabilities_or_our_error(data: bytes) -> None:
    try:
        found = parse(data)
    except CapabilityDamaged:
        return
    assert "=" in found.text
