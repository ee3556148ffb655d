"""Rows come back as they were kept, and lie where their directory's rows lie."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.filerows import (
    FileRow,
    decode_row,
    directories_below,
    encode_row,
    key_of,
    path_of,
    row_of,
    rows_in,
    type_caveat,
)
from agent.sense.sensors.told import StateLost, Told, ToldLimits

NAMES = st.binary(min_size=1, max_size=8).filter(lambda name: not {0, 0x2F} & set(name))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: b"/" + b"/".join(names))
ROW = FileRow(1, 2, 3, 4, 5, 6, 7, b"h" * 32)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    made = Told(tmp_path / "state.db", ToldLimits(1 << 22, 100))
    made.open(b"")
    yield made
    made.close()


def test_a_row_is_as_the_file_until_any_stamp_moves(tmp_path: Path) -> None:
    (path := tmp_path / "file").write_bytes(b"x")
    row = row_of(path.stat(), b"h", unsure=False)

    same = row.is_as(path.stat())
    path.chmod(0o600)
    os.utime(path, ns=(0, row.modified))

    assert same
    assert not row.is_as(path.stat())


@given(st.integers(0, 2**63), st.binary(max_size=32), st.booleans())
def test_a_row_is_read_back(number: int, sha256: bytes, unsure: bool) -> None:
    row = FileRow(number, -number, number, number, 1, 2, 3, sha256, unsure)

    assert decode_row(encode_row(row)) == row


@given(st.binary(max_size=40))
def test_any_bytes_are_a_row_or_a_lost_state(data: bytes) -> None:
    with contextlib.suppress(StateLost):
        assert isinstance(decode_row(data), FileRow)


@given(PATHS)
def test_a_path_comes_back_from_its_key(path: bytes) -> None:
    assert path_of(key_of(path)) == path


@given(st.sets(PATHS, max_size=12), PATHS)
def test_the_directories_below_one_are_exactly_those(
    tmp_path_factory: pytest.TempPathFactory, paths: set[bytes], top: bytes
) -> None:
    database = tmp_path_factory.getbasetemp() / "rows.db"
    database.unlink(missing_ok=True)
    told = Told(database, ToldLimits(1 << 22, 100))
    told.open(b"")
    told.put(b"!flag", b"1")
    for path in paths:
        told.put(key_of(path), encode_row(ROW))
    told.commit(1)

    below = list(directories_below(told, top))
    everything = list(directories_below(told, b""))
    told.close()

    directories = {path.rpartition(b"/")[0] for path in paths}
    assert sorted(everything) == sorted(directories)
    assert sorted(below) == sorted(d for d in directories if (d + b"/").startswith(top + b"/"))


def test_the_rows_of_a_directory_are_its_own(told: Told) -> None:
    for path in (b"/a/x", b"/a/y", b"/a/b/z", b"/a-b/x", b"/x"):
        told.put(key_of(path), encode_row(ROW))
    told.commit(1)

    assert dict(rows_in(told, b"/a")) == {b"x": ROW, b"y": ROW}
    assert dict(rows_in(told, b"")) == {b"x": ROW}


def test_every_type_but_a_file_has_a_word() -> None:
    words = [
        type_caveat(kind)
        for kind in (
            stat.S_IFREG,
            stat.S_IFLNK,
            stat.S_IFIFO,
            stat.S_IFSOCK,
            stat.S_IFCHR,
            stat.S_IFBLK,
            0,
        )
    ]

    assert words[0] == ""
    assert len(set(words)) == 7
