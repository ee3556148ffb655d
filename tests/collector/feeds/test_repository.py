"""The laws of the repository on disk."""

from pathlib import Path

import pytest

from collector.feeds.errors import NotInitialised, RepositoryDamaged
from collector.feeds.publish import Publisher, content_dir
from collector.feeds.repository import Repository
from proto.content.names import check_name
from tests.collector.feeds.builders import a_bundle, a_publisher, some_settings
from tests.fakes.clock import FakeClock


def a_repository(tmp_path: Path) -> tuple[Publisher, Repository, FakeClock]:
    clock = FakeClock()
    publisher = a_publisher(tmp_path, clock)
    return publisher, Repository(content_dir(some_settings(tmp_path))), clock


def files(tmp_path: Path) -> list[str]:
    base = content_dir(some_settings(tmp_path))
    return sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file())


def test_every_published_file_has_a_name_that_hosts_may_ask_for(tmp_path: Path) -> None:
    publisher, _, _ = a_repository(tmp_path)
    publisher.stage(a_bundle())

    names = files(tmp_path)

    assert names == [check_name(name) for name in names]
    assert "metadata/timestamp.json" in names


def test_an_empty_directory_is_not_a_repository(tmp_path: Path) -> None:
    repository = Repository(tmp_path)

    with pytest.raises(NotInitialised):
        repository.load()
    with pytest.raises(NotInitialised):
        repository.first_root()


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "indicators"])
def test_a_changed_metadata_file_is_noticed_before_anything_is_signed_on_top(
    tmp_path: Path, role: str
) -> None:
    publisher, repository, _ = a_repository(tmp_path)
    publisher.stage(a_bundle())
    metadata = content_dir(some_settings(tmp_path)) / "metadata"
    path = max(metadata.glob(f"*{role}.json"))
    changed = bytearray(path.read_bytes())
    changed[changed.index(b'"sig":') + 12] ^= 1
    path.write_bytes(changed)

    with pytest.raises(RepositoryDamaged):
        repository.load()
    with pytest.raises(RepositoryDamaged):
        publisher.refresh()


def test_a_changed_or_missing_bundle_is_noticed(tmp_path: Path) -> None:
    publisher, repository, _ = a_repository(tmp_path)
    publisher.stage(a_bundle())
    target = repository.load().target
    assert target is not None
    (path,) = (content_dir(some_settings(tmp_path)) / "targets").rglob("*.vdx")
    path.write_bytes(b"tampered")

    with pytest.raises(RepositoryDamaged):
        repository.read_target(target)
    path.unlink()
    with pytest.raises(RepositoryDamaged):
        repository.read_target(target)


def test_a_host_that_reads_the_release_before_still_finds_its_files(tmp_path: Path) -> None:
    publisher, _, clock = a_repository(tmp_path)
    publisher.stage(a_bundle(version=1))
    before = files(tmp_path)
    clock.forward(90_000)

    publisher.stage(a_bundle(version=2))

    assert set(before) <= set(files(tmp_path))


def test_older_releases_are_swept_in_the_end(tmp_path: Path) -> None:
    publisher, _, clock = a_repository(tmp_path)
    clock.wall = 4_000_000_000 * 10**9  # well after the files' own times
    publisher.renew(tmp_path / "offline")
    for version in range(1, 6):
        clock.forward(90_000)
        publisher.stage(a_bundle(version=version))

    assert sum(name.endswith(".vdx") for name in files(tmp_path)) == 2
    assert len(files(tmp_path)) < 14
