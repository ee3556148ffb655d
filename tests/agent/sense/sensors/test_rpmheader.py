"""A header names its package, whatever lies around it; any bytes do no harm."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.rpmheader import NotRpmHeader, parse_package
from proto.model import Package
from tests.agent.sense.sensors.rpms import a_header


def of(data: bytes) -> Callable[[int, int], bytes]:
    return lambda at, count: data[at : at + count]


def test_a_header_names_name_version_release_and_architecture() -> None:
    assert parse_package(of(a_header("bash", "5.2.15", "3.el9"))) == Package(
        "rpm", "bash", "5.2.15-3.el9", "x86_64", "installed"
    )


def test_an_epoch_stands_before_the_version_and_none_is_not_shown() -> None:
    versions = [
        parse_package(of(a_header("a", "1", "1", epoch=epoch))).version for epoch in (None, 0, 32)
    ]

    assert versions == ["1-1", "1-1", "32:1-1"]


def test_a_key_has_no_architecture() -> None:
    package = parse_package(of(a_header("gpg-pubkey", "8483c65d", "5ccc5b19", arch="")))

    assert (package.name, package.architecture) == ("gpg-pubkey", "")


def test_only_the_beginning_of_a_long_header_is_asked_for() -> None:
    data = a_header("bash", "5", "1", files=50_000)
    asked: list[int] = []

    def read(at: int, count: int) -> bytes:
        asked.append(at + count)
        return data[at : at + count]

    parse_package(read)

    assert max(asked) < 1024 < len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 8,
        a_header("bash", "5", "1")[:40],
        a_header("../etc", "5", "1"),
        a_header("bash", "5 ; rm", "1"),
        a_header("b" * 300, "5", "1"),
        a_header("bash", "", "1"),
    ],
)
def test_what_names_no_package_is_refused(data: bytes) -> None:
    with pytest.raises(NotRpmHeader):
        parse_package(of(data))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_package_or_refused(data: bytes) -> None:
    with contextlib.suppress(NotRpmHeader):
        parse_package(of(data))


@given(st.data())
def test_damage_anywhere_is_a_package_or_refused(data: st.DataObject) -> None:
    header = bytearray(a_header("bash", "5", "1", epoch=1))
    header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))

    with contextlib.suppress(NotRpmHeader):
        assert len(parse_package(of(bytes(header))).version) <= 256
