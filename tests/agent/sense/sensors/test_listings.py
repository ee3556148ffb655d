"""Things become rows and come back; keys and stamps tell apart what differs."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.listings import (
    KEY_BYTES_MAX,
    Unread,
    decode_thing,
    encode_thing,
    key_of,
    stamp_of,
)
from proto.model import Container, Package, Setting


@pytest.mark.parametrize(
    "thing",
    [
        Package("deb", "bash", "5", "amd64", "installed"),
        Package("npm", "a", "1", path="/x"),
        Setting("os.id", "debian", "/etc/os-release"),
        Container("c", "lxc", name="c", unit=None, processes=3),
    ],
)
def test_a_thing_comes_back_from_its_row(thing: Package | Setting | Container) -> None:
    assert decode_thing(encode_thing(thing)) == thing


@given(st.binary(max_size=200))
def test_any_bytes_are_a_thing_or_refused(data: bytes) -> None:
    with contextlib.suppress(Unread):
        assert encode_thing(decode_thing(data))


@given(st.text(), st.text())
def test_a_key_is_bounded_whatever_it_is_made_of(left: str, right: str) -> None:
    assert len(key_of(left, right)) <= KEY_BYTES_MAX


def test_parts_of_a_key_do_not_run_together() -> None:
    assert key_of("a", "bc") != key_of("ab", "c")


def test_a_stamp_moves_when_a_file_is_replaced(tmp_path: Path) -> None:
    path, new = tmp_path / "a", tmp_path / "b"
    path.write_text("x")
    new.write_text("x")
    before = stamp_of([path.stat()])

    new.replace(path)

    assert stamp_of([path.stat()]) != before
