"""The laws of the repository's keys."""

import stat
from pathlib import Path

import pytest

from collector.feeds.errors import NotInitialised, OfflineKeyNeeded
from collector.feeds.keys import (
    OFFLINE_ROLES,
    ONLINE_ROLES,
    create_offline,
    create_online,
    load_offline,
    load_online,
)


def test_keys_are_made_once_and_loaded_after(tmp_path: Path) -> None:
    online, offline = create_online(tmp_path / "on"), create_offline(tmp_path / "off")

    for again in (create_online(tmp_path / "on"), load_online(tmp_path / "on")):
        assert again.timestamp.public_key == online.timestamp.public_key
    assert load_offline(tmp_path / "off").root.public_key == offline.root.public_key


def test_every_role_has_a_key_of_its_own_that_only_its_owner_can_read(tmp_path: Path) -> None:
    create_online(tmp_path / "on")
    create_offline(tmp_path / "off")

    files = [*(tmp_path / "on").iterdir(), *(tmp_path / "off").iterdir()]

    assert len({path.read_bytes() for path in files}) == len(ONLINE_ROLES) + len(OFFLINE_ROLES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_the_collector_never_holds_an_offline_key(tmp_path: Path) -> None:
    create_online(tmp_path / "on")

    assert not any(
        role in path.name for path in (tmp_path / "on").iterdir() for role in OFFLINE_ROLES
    )


def test_missing_keys_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotInitialised, match="collector init"):
        load_online(tmp_path)
    with pytest.raises(OfflineKeyNeeded, match="medium"):
        load_offline(tmp_path)
