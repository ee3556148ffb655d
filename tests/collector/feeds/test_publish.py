"""The laws of publishing, with the real client where it says whether hosts would agree."""

import os
import time
from pathlib import Path

import pytest
from tuf.ngclient import Updater  # type: ignore[attr-defined]

from certs.errors import KeyUnusable
from collector.feeds.errors import NotInitialised, OfflineKeyNeeded
from collector.feeds.metadata import TARGET_NAME
from collector.feeds.publish import Publisher, content_dir
from proto.content.errors import ContentDamaged, ContentRefused, RefuseReason
from runtime.files import AlreadyRunning, FileLock
from tests.collector.feeds.builders import a_bundle, a_publisher, some_settings
from tests.fakes.clock import FakeClock
from tests.fakes.tuf import DirectoryFetcher


def a_client(tmp_path: Path, root: bytes) -> Updater:
    folder = tmp_path / "host"
    folder.mkdir(exist_ok=True)
    return Updater(
        metadata_dir=str(folder),
        metadata_base_url="metadata/",
        target_dir=str(folder),
        target_base_url="targets/",
        fetcher=DirectoryFetcher(content_dir(some_settings(tmp_path))),
        bootstrap=root,
    )


def now_clock() -> FakeClock:
    """The client reads the machine's clock, so the publisher does too."""
    clock = FakeClock()
    clock.wall = time.time_ns()
    return clock


def fetched(tmp_path: Path, publisher: Publisher) -> bytes:
    client = a_client(tmp_path, publisher.root())
    client.refresh()
    target = client.get_targetinfo(TARGET_NAME)
    assert target is not None
    return Path(client.download_target(target)).read_bytes()


def test_a_host_gets_exactly_what_was_staged(tmp_path: Path) -> None:
    publisher = a_publisher(tmp_path, now_clock())
    bundle = a_bundle()

    publisher.stage(bundle)

    assert fetched(tmp_path, publisher) == bundle


def test_a_host_follows_from_release_to_release(tmp_path: Path) -> None:
    clock = now_clock()
    publisher = a_publisher(tmp_path, clock)

    for version in (1, 2, 3):
        bundle = a_bundle(version=version)
        publisher.stage(bundle)
        assert fetched(tmp_path, publisher) == bundle


def test_a_repository_without_a_release_is_one_that_hosts_accept(tmp_path: Path) -> None:
    publisher = a_publisher(tmp_path, now_clock())
    client = a_client(tmp_path, publisher.root())

    client.refresh()

    assert client.get_targetinfo(TARGET_NAME) is None
    assert publisher.current() is None


def test_a_host_follows_a_renewed_root(tmp_path: Path) -> None:
    publisher = a_publisher(tmp_path, now_clock())
    publisher.stage(a_bundle())
    fetched(tmp_path, publisher)

    publisher.renew(tmp_path / "offline")

    assert fetched(tmp_path, publisher) == a_bundle()


def test_init_again_changes_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    publisher = a_publisher(tmp_path, clock)
    root = publisher.root()
    release = publisher.stage(a_bundle())

    assert publisher.init(tmp_path / "offline") == root
    assert publisher.current() == release


def test_staging_the_same_bundle_again_changes_nothing(tmp_path: Path) -> None:
    publisher = a_publisher(tmp_path, FakeClock())
    publisher.stage(a_bundle())
    metadata = content_dir(some_settings(tmp_path)) / "metadata"
    before = sorted(path.name for path in metadata.iterdir())

    publisher.stage(a_bundle())

    assert sorted(path.name for path in metadata.iterdir()) == before


def test_an_older_release_is_refused(tmp_path: Path) -> None:
    publisher = a_publisher(tmp_path, FakeClock())
    publisher.stage(a_bundle(version=5))

    with pytest.raises(ContentRefused) as refused:
        publisher.stage(a_bundle(count=11, version=5), force=True)

    assert refused.value.reason is RefuseReason.ROLLBACK


def test_a_release_of_less_than_half_is_refused_unless_forced(tmp_path: Path) -> None:
    publisher = a_publisher(tmp_path, FakeClock())
    publisher.stage(a_bundle(count=100, version=1))

    publisher.stage(a_bundle(count=50, version=2))
    with pytest.raises(ContentRefused) as refused:
        publisher.stage(a_bundle(count=24, version=3))

    assert refused.value.reason is RefuseReason.SHRINK
    assert publisher.stage(a_bundle(count=24, version=3), force=True).indicators == 24


def test_bytes_that_are_no_index_are_never_published(tmp_path: Path) -> None:
    publisher = a_publisher(tmp_path, FakeClock())
    damaged = bytearray(a_bundle())
    damaged[len(damaged) // 2] ^= 1

    for data in (b"", b"junk", bytes(damaged)):
        with pytest.raises(ContentDamaged):
            publisher.stage(data)


def test_signatures_are_renewed_at_half_of_their_life_and_not_before(tmp_path: Path) -> None:
    clock = FakeClock()
    publisher = a_publisher(tmp_path, clock)

    assert publisher.refresh() == ()
    clock.forward(13 * 3600)
    assert publisher.refresh() == ("timestamp",)
    clock.forward(4 * 86_400)
    assert publisher.refresh() == ("indicators", "snapshot", "timestamp")
    assert publisher.refresh() == ()


def test_a_timestamp_has_the_time_as_version_and_never_an_older_one(tmp_path: Path) -> None:
    clock = FakeClock()
    publisher = a_publisher(tmp_path, clock)
    first = publisher._repository.load().timestamp.version  # noqa: SLF001
    clock.wall -= 86_400 * 10**9

    publisher.stage(a_bundle())

    assert first == FakeClock().wall // 10**9
    assert publisher._repository.load().timestamp.version == first + 1  # noqa: SLF001


def test_when_an_offline_signature_runs_out_the_operator_is_told(tmp_path: Path) -> None:
    clock = FakeClock()
    publisher = a_publisher(tmp_path, clock)
    clock.forward(29 * 86_400)
    assert publisher.offline_days_left() == 1
    clock.forward(2 * 86_400)

    with pytest.raises(OfflineKeyNeeded):
        publisher.refresh()
    with pytest.raises(OfflineKeyNeeded):
        publisher.stage(a_bundle())
    publisher.renew(tmp_path / "offline")

    publisher.stage(a_bundle())
    assert publisher.offline_days_left() == 30


def test_without_the_offline_keys_nothing_can_be_renewed(tmp_path: Path) -> None:
    publisher = a_publisher(tmp_path, FakeClock())

    with pytest.raises(OfflineKeyNeeded):
        publisher.renew(tmp_path / "elsewhere")


def test_a_repository_must_be_begun(tmp_path: Path) -> None:
    publisher = Publisher(some_settings(tmp_path), FakeClock())
    (tmp_path / "feeds").mkdir()

    with pytest.raises(NotInitialised):
        publisher.root()
    with pytest.raises(NotInitialised):
        publisher.refresh()


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    publisher = a_publisher(tmp_path, FakeClock())
    (tmp_path / "feeds" / "keys" / "tuf-timestamp.pem").chmod(0o644)

    with pytest.raises(KeyUnusable):
        publisher.refresh()


def test_two_publishers_do_not_work_at_once(tmp_path: Path) -> None:
    publisher = a_publisher(tmp_path, FakeClock())
    lock = FileLock(tmp_path / "feeds" / "lock")
    lock.acquire()

    with pytest.raises(AlreadyRunning):
        publisher.refresh()

    lock.release()
    publisher.refresh()


class Crash(Exception):
    """The power goes."""


@pytest.mark.parametrize("writes", range(5))
def test_a_crash_at_any_write_leaves_a_release_that_hosts_accept(
    tmp_path: Path, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = a_publisher(tmp_path, now_clock())
    publisher.stage(a_bundle(version=1))
    left = iter([True] * writes)
    fsync = os.fsync

    def failing(fd: int) -> None:
        if next(left, None) is None:
            raise Crash
        fsync(fd)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(Crash):
        publisher.stage(a_bundle(version=2))
    monkeypatch.undo()

    assert fetched(tmp_path, publisher) == a_bundle(version=1)
    publisher.stage(a_bundle(version=2))
    assert fetched(tmp_path, publisher) == a_bundle(version=2)
