import contextlib
import gzip
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import FailReason, InspectionFailed
from agent.inspect.gunzip import gunzip
from agent.inspectframes import CHUNK_BYTES, Data, Gunzip

LINES = b"".join(b"line %d of a log\n" % number for number in range(20_000))
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path, wanted: Gunzip) -> tuple[bytes, bool]:
    """Return what comes, which must be in order and in full pieces, and whether it is the end."""
    fd = os.open(path, os.O_RDONLY)
    held, at, is_short = bytearray(), wanted.offset, False
    pieces = gunzip(fd, wanted)
    try:
        while True:
            piece: Data = next(pieces)
            assert not is_short
            assert piece.offset == at
            held += piece.data
            at += len(piece.data)
            is_short = len(piece.data) < CHUNK_BYTES
    except StopIteration as last:
        return bytes(held), last.value.is_end
    finally:
        os.close(fd)


def a_file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "log.1.gz"
    path.write_bytes(data)
    return path


@SHARED
@given(st.integers(0, len(LINES) + 100), st.integers(1, 400_000))
def test_any_part_of_a_file_is_what_it_holds_there(
    tmp_path: Path, offset: int, size_bytes_max: int
) -> None:
    path = a_file(tmp_path, gzip.compress(LINES, 1))

    data, is_end = read(path, Gunzip(offset=offset, size_bytes_max=size_bytes_max))

    assert data == LINES[offset : offset + size_bytes_max]
    assert is_end == (offset + size_bytes_max >= len(LINES))


def test_members_follow_one_another_and_zeros_end_the_file(tmp_path: Path) -> None:
    members = gzip.compress(b"one\n") + gzip.compress(b"") + gzip.compress(b"two\n")

    assert read(a_file(tmp_path, members), Gunzip()) == (b"one\ntwo\n", True)
    assert read(a_file(tmp_path, members + bytes(70_000)), Gunzip()) == (b"one\ntwo\n", True)


def test_an_empty_member_holds_nothing(tmp_path: Path) -> None:
    assert read(a_file(tmp_path, gzip.compress(b"")), Gunzip()) == (b"", True)


@pytest.mark.parametrize("cut", [1, 9, 1000])
def test_a_file_that_ends_early_says_so(tmp_path: Path, cut: int) -> None:
    with pytest.raises(InspectionFailed) as failed:
        read(a_file(tmp_path, gzip.compress(LINES)[:-cut]), Gunzip())

    assert failed.value.reason is FailReason.ENDS_EARLY


def test_an_empty_file_ends_early(tmp_path: Path) -> None:
    with pytest.raises(InspectionFailed) as failed:
        read(a_file(tmp_path, b""), Gunzip())

    assert failed.value.reason is FailReason.ENDS_EARLY


@pytest.mark.parametrize(
    "data",
    [
        b"plain text\n",
        zlib.compress(LINES),
        gzip.compress(LINES) + b"more",
        gzip.compress(LINES) + bytes(100) + b"more",
        gzip.compress(LINES)[:5000] + bytes(8) + gzip.compress(LINES)[5008:],
    ],
)
def test_what_is_damaged_or_no_gzip_file_says_so(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InspectionFailed) as failed:
        read(a_file(tmp_path, data), Gunzip())

    assert failed.value.reason is FailReason.CORRUPT


def test_what_comes_before_the_damage_is_given(tmp_path: Path) -> None:
    whole = gzip.compress(LINES)
    fd = os.open(a_file(tmp_path, whole[: len(whole) // 2]), os.O_RDONLY)
    held = bytearray()

    pieces = gunzip(fd, Gunzip())
    with contextlib.suppress(InspectionFailed):
        while True:
            held += next(pieces).data

    os.close(fd)
    assert held
    assert LINES.startswith(bytes(held))


def test_a_file_that_holds_far_more_than_its_size_tells_is_refused(tmp_path: Path) -> None:
    bomb = a_file(tmp_path, gzip.compress(bytes(64 << 20), 9))

    with pytest.raises(InspectionFailed) as failed:
        read(bomb, Gunzip(size_bytes_max=1 << 30))

    assert failed.value.reason is FailReason.TOO_LARGE


def test_a_file_that_holds_more_than_is_inflated_is_refused_even_unseen(tmp_path: Path) -> None:
    path = a_file(tmp_path, gzip.compress(LINES))

    with pytest.raises(InspectionFailed) as failed:
        read(path, Gunzip(offset=len(LINES), inflated_bytes_max=1000))

    assert failed.value.reason is FailReason.TOO_LARGE


@SHARED
@given(st.binary(max_size=300))
def test_any_bytes_are_inflated_or_refused(tmp_path: Path, data: bytes) -> None:
    for held in (data, gzip.compress(b"begin") + data, gzip.compress(data)[:-1] + data):
        refusals = []
        try:
            read(a_file(tmp_path, held), Gunzip())
        except InspectionFailed as error:
            refusals.append(error.reason)
        assert set(refusals) <= {FailReason.CORRUPT, FailReason.ENDS_EARLY}
