"""The first bytes of a file tell what the kernel will do with it."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.imagehead import Head, Kind, Reader, read_head
from tests.agent.sense.sensors.elves import an_elf


def reading(data: bytes) -> Reader:
    return lambda size, offset: data[offset : offset + size]


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_program_with_a_loader_names_it(bits: int, order: str) -> None:
    data = an_elf(bits=bits, order=order, loader=b"/lib/ld.so\0")

    assert read_head(reading(data)) == Head(Kind.DYNAMIC, b"/lib/ld.so")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (an_elf(kind=2), Kind.STATIC),
        (an_elf(kind=3), Kind.BARE),
        (b"#!/bin/sh\n", Kind.SCRIPT),
        (b"MZ", Kind.SCRIPT),
        (b"", Kind.SCRIPT),
        (b"\x7fELF\x09" + bytes(60), Kind.SCRIPT),
        (b"\x7fELF\x02\x01" + b"\xff" * 58, Kind.STATIC),
    ],
)
def test_everything_else_is_told_apart(data: bytes, kind: Kind) -> None:
    assert read_head(reading(data)).kind is kind


def test_a_program_of_this_host_is_understood() -> None:
    fd = os.open(Path("/bin/true").resolve(), os.O_RDONLY)

    head = read_head(lambda size, offset: os.pread(fd, size, offset))

    os.close(fd)
    assert head.kind in {Kind.DYNAMIC, Kind.STATIC, Kind.BARE}
    assert head.kind is not Kind.DYNAMIC or head.loader.startswith(b"/")


@given(
    st.binary(max_size=200)
    | st.builds(lambda tail: b"\x7fELF\x02\x01" + tail, st.binary(max_size=200))
    | st.builds(lambda tail: b"\x7fELF\x01\x02" + tail, st.binary(max_size=200))
)
def test_any_bytes_are_some_kind_of_file(data: bytes) -> None:
    assert isinstance(read_head(reading(data)), Head)
