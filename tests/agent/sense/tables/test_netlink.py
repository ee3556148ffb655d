"""A dump is read as the kernel writes it; any bytes do no harm."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.tables.netlink import NetlinkRefused, attributes, dump, messages


def a_message(kind: int, body: bytes, flags: int = 2) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body + bytes(-len(body) % 4)


def an_attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def test_messages_end_with_the_one_that_says_so() -> None:
    data = a_message(24, b"abc") + a_message(24, b"") + a_message(3, bytes(4))

    assert messages(data) == ([(24, b"abc"), (24, b"")], True)
    assert messages(a_message(24, b"abc")) == ([(24, b"abc")], False)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (a_message(2, struct.pack("=i", -1)), "operation not permitted"),
        (a_message(3, struct.pack("=i", -95)), "not supported"),
        (a_message(24, b"x", flags=0x12), "changed while it was read"),
        (a_message(24, b"abcd")[:-2], "cut short"),
        (struct.pack("=IHHII", 3, 24, 0, 0, 0), "cut short"),
    ],
)
def test_a_refusal_a_change_and_a_cut_are_said(data: bytes, words: str) -> None:
    with pytest.raises(NetlinkRefused) as refused:
        messages(data)

    assert words in refused.value.message


def test_attributes_are_numbered_without_their_flags() -> None:
    data = an_attribute(1, b"a") + an_attribute(0x8002, b"bcde") + b"\x09\0\3\0torn"

    assert list(attributes(data)) == [(1, b"a"), (2, b"bcde")]


def test_the_kernel_refuses_what_it_does_not_know() -> None:
    with pytest.raises(NetlinkRefused):
        list(dump(0, 0xFFFF, bytes(16)))


def test_a_family_that_the_kernel_lacks_is_refused() -> None:
    with pytest.raises(NetlinkRefused):
        list(dump(31, 1, b""))


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_refused(data: bytes) -> None:
    try:
        found, _ = messages(data)
    except NetlinkRefused:
        return
    assert sum(len(body) for _, body in found) <= len(data)


@given(st.binary(max_size=200), st.integers(0, 20))
def test_any_bytes_are_attributes(data: bytes, at: int) -> None:
    assert sum(len(value) for _, value in attributes(data, at)) <= len(data)
