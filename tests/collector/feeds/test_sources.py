"""The laws of reading list files."""

import gzip
import os
from pathlib import Path

import pytest

from collector.feeds.errors import WarningListUnusable
from collector.feeds.sources import read_feeds, read_warninglists
from tests.collector.feeds.builders import a_feed, some_settings


def test_a_feed_is_all_files_of_its_glob_with_their_times(tmp_path: Path) -> None:
    settings = some_settings(tmp_path, a_feed())
    for name in ("b.txt", "a.txt", "c.csv"):
        path = tmp_path / "lists" / name
        path.write_text(name)
        os.utime(path, ns=(1, 5 * 10**18))

    (feed,) = read_feeds(settings)

    assert [(file.name, file.data) for file in feed.files] == [
        ("a.txt", b"a.txt"),
        ("b.txt", b"b.txt"),
    ]
    assert {file.seen_at for file in feed.files} == {5 * 10**18}


def test_a_packed_file_is_unpacked_however_many_members_it_has(tmp_path: Path) -> None:
    settings = some_settings(tmp_path, a_feed(path="*.gz"))
    packed = gzip.compress(b"192.0.2.1\n") + gzip.compress(b"192.0.2.2\n")
    (tmp_path / "lists" / "a.txt.gz").write_bytes(packed)

    (feed,) = read_feeds(settings)

    assert feed.files[0].data == b"192.0.2.1\n192.0.2.2\n"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"not gzip", "not gzip"),
        (gzip.compress(b"0123456789" * 500)[:-20], "cut short"),
        (gzip.compress(bytes(100_000)), "larger"),
        (bytes(5000), "larger"),
    ],
)
def test_a_bad_file_makes_its_feed_unusable_and_says_why(
    tmp_path: Path, data: bytes, word: str
) -> None:
    name = "a.txt" if data == bytes(5000) else "a.gz"
    settings = some_settings(tmp_path, a_feed(path="a.*"), file_size_bytes_max=4096)
    (tmp_path / "lists" / name).write_bytes(data)

    (feed,) = read_feeds(settings)

    assert word in feed.error
    assert not feed.files


def test_a_feed_without_a_file_says_so(tmp_path: Path) -> None:
    (feed,) = read_feeds(some_settings(tmp_path, a_feed(path="missing.txt")))

    assert "missing.txt" in feed.error


def test_no_directory_of_warninglists_means_none(tmp_path: Path) -> None:
    assert read_warninglists(some_settings(tmp_path)).lists == ()


def test_a_broken_or_missing_warninglist_stops_the_build(tmp_path: Path) -> None:
    settings = some_settings(tmp_path, warninglists=str(tmp_path / "warninglists"))
    with pytest.raises(WarningListUnusable):
        read_warninglists(settings)
    (tmp_path / "warninglists" / "bad").mkdir(parents=True)
    (tmp_path / "warninglists" / "bad" / "list.json").write_text("{}")

    with pytest.raises(WarningListUnusable, match=r"list\.json"):
        read_warninglists(settings)
