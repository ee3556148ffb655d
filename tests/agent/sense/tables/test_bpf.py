"""Loaded programs are those that the kernel numbers; without the right to ask, that is said."""

import ctypes
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.tables import bpf
from agent.sense.tables.live import is_kernel_of
from tests.agent.sense.tables.views import looking_at, shown


def an_info(kind: int = 1, name: bytes = b"watch") -> bytes:
    return struct.pack("=II8sIIQQQIIQ16s", kind, 7, b"\xab" * 8, 100, 16, 0, 0, 5, 1000, 2, 0, name)


def test_a_program_is_a_row() -> None:
    assert bpf.parse_info(an_info()) == {
        "id": 7,
        "type": "socket_filter",
        "name": "watch",
        "tag": "ab" * 8,
        "uid": 1000,
        "loaded": 5,
        "size_bytes": 16,
        "is_compiled": True,
        "maps": 2,
    }


def test_a_kind_from_a_newer_kernel_is_its_number() -> None:
    row = bpf.parse_info(an_info(kind=999, name=b""))

    assert row is not None
    assert (row["type"], row["name"]) == ("999", None)


def test_a_host_of_another_kernel_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    looking = looking_at(tmp_path)

    assert shown(bpf.TABLE, looking) == []
    assert looking.problems


@pytest.mark.root
def test_a_program_that_is_loaded_is_seen_and_one_that_is_closed_is_not() -> None:
    if not is_kernel_of(HostRoot("/")):
        pytest.skip("this is not the kernel of the host")
    fd = _a_program(b"vedette_test")
    before = shown(bpf.TABLE, looking_at(Path("/")))
    os.close(fd)

    assert "vedette_test" in {row["name"] for row in before}
    assert "socket_filter" in {row["type"] for row in before}


def _a_program(name: bytes) -> int:
    """Load ``return 0`` as a socket filter; nothing is attached."""
    code = struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    holder = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    head = struct.pack(
        "=IIQQIIQII16s",
        1, 2, ctypes.addressof(holder), ctypes.addressof(licence), 0, 0, 0, 0, 0, name,
    )  # fmt: skip
    attr = ctypes.create_string_buffer(head, 128)
    libc = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 321, "aarch64": 280}.get(os.uname().machine)
    if number is None:
        pytest.skip("not known for this kind of machine")
    fd = int(libc.syscall(ctypes.c_long(number), ctypes.c_long(5), attr, ctypes.c_long(128)))
    if fd < 0:
        pytest.skip(f"no program can be loaded here: {os.strerror(ctypes.get_errno())}")
    return fd


@given(st.binary(max_size=200))
def test_any_bytes_are_a_program_or_none(data: bytes) -> None:
    row = bpf.parse_info(data)

    assert row is None or set(row) == set(bpf.TABLE.columns)
