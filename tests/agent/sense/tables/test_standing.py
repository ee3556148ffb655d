"""Accounts, entries that last and files that lend rights are tables of their own."""

import os
from pathlib import Path

from agent.sense.sensors.persist.settings import PersistenceSettings
from agent.sense.tables import standing
from agent.sense.tables.table import Sources
from tests.agent.sense.tables.views import looking_at, shown, write

HOST: dict[str, str | bytes] = {
    "etc/passwd": "alice:x:1000:1000::/home/alice:/bin/sh\n",
    "etc/group": "sudo:x:27:alice\n",
    "etc/crontab": "17 * * * * root run-parts /etc/cron.hourly\n",
    "usr/bin/su": "x",
    "usr/bin/ls": "x",
}


def test_accounts_and_what_lasts_are_apart(tmp_path: Path) -> None:
    write(tmp_path, HOST)

    accounts = shown(standing.ACCOUNTS_TABLE, looking_at(tmp_path))
    lasting = shown(standing.PERSISTENCE, looking_at(tmp_path))

    assert {row["mechanism"] for row in accounts} == {"user", "group_member"} | (
        {"group"} if any(row["mechanism"] == "group" for row in accounts) else set()
    )
    assert [row["mechanism"] for row in lasting] == ["cron_job"]


def test_what_could_not_be_read_is_said(tmp_path: Path) -> None:
    write(tmp_path, {"etc/passwd": "alice:x:1000:1000::/home/alice:/bin/sh\n"})
    os.mkfifo(tmp_path / "etc/crontab")
    looking = looking_at(tmp_path)

    shown(standing.PERSISTENCE, looking)

    assert any(problem.startswith("/etc/crontab") for problem in looking.problems)


def test_a_host_without_configuration_is_said(tmp_path: Path) -> None:
    looking = looking_at(tmp_path)

    assert shown(standing.ACCOUNTS_TABLE, looking) == []
    assert looking.problems


def test_a_file_that_lends_rights_is_a_row_and_others_are_not(tmp_path: Path) -> None:
    write(tmp_path, HOST)
    (tmp_path / "usr/bin/su").chmod(0o4755)
    (tmp_path / "usr/bin/ls").chmod(0o755)

    (row,) = shown(standing.RIGHTS, looking_at(tmp_path))

    assert (row["mechanism"], row["path"]) == ("suid_file", "/usr/bin/su")


def test_a_walk_that_was_cut_is_said(tmp_path: Path) -> None:
    for number in range(1200):
        (tmp_path / f"d{number}").mkdir()
    looking = looking_at(tmp_path)
    looking.sources = Sources(persistence=PersistenceSettings(walk_entries_max=1000))

    shown(standing.RIGHTS, looking)

    assert any("1000" in problem for problem in looking.problems)
