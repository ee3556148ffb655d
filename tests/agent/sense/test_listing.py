"""Every table shows what its columns promise, of a host made of files and of this one."""

import json
from pathlib import Path

import pytest

from agent.hostroot import HostFileMissing
from agent.sense.listing import TABLES, rows
from agent.sense.sensors.persist.settings import PersistenceSettings
from agent.sense.tables.table import Looking, Sources
from tests.agent.sense.sensors.hosts import a_golden_host
from tests.agent.sense.tables.views import looking_at, write

ID = "a" * 64
MORE: dict[str, str | bytes] = {
    "dev/null": "",
    "etc/cron.d/x": "* * * * * root true\n",
    "etc/group": "root:x:0:\n",
    "etc/resolv.conf": "nameserver 192.0.2.53\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
    "proc/1/mountinfo": "25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n",
    "proc/cmdline": "quiet\n",
    "proc/modules": "nfs 100 0 - Live 0x0\n",
    "proc/sys/kernel/osrelease": "6.1\n",
    "proc/version": "Linux\n",
    "run/systemd/sessions/3": "USER=alice\n",
    "sys/block/vda/size": "8\n",
    "sys/fs/cgroup/cgroup.procs": "1\n",
    f"sys/fs/cgroup/docker/{ID}/cgroup.procs": "2\n",
}
# Nothing of the kind on that host, or only a kernel can tell.
EMPTY = {"certificates", "rights", *(name for name, table in TABLES.items() if table.is_live)}
# A walk over every file takes long.
FEW = Sources(persistence=PersistenceSettings(walk_entries_max=1000))


@pytest.fixture
def debian(tmp_path: Path) -> Looking:
    root = a_golden_host("debian12", tmp_path)
    (root / "proc/1/net/dev").unlink()
    (root / "proc/1/net/dev").touch()  # so that the network is not ours
    return looking_at(write(root, MORE))


@pytest.mark.parametrize("table", TABLES)
def test_every_row_is_json_of_the_tables_columns(table: str, debian: Looking) -> None:
    listed = list(rows(table, debian))

    assert bool(listed) == (table not in EMPTY)
    for row in listed:
        assert set(row) <= set(TABLES[table].columns)
        assert json.loads(json.dumps(row)) == row


@pytest.mark.parametrize("table", TABLES)
def test_a_table_says_what_it_shows(table: str) -> None:
    made = TABLES[table]

    assert made.text
    assert all(made.columns.values())
    assert set(made.shown) <= set(made.columns)


@pytest.mark.parametrize("table", [name for name in TABLES if TABLES[name].is_live])
def test_a_tree_of_files_is_not_asked_as_if_it_were_our_kernel(table: str, debian: Looking) -> None:
    assert list(rows(table, debian)) == []
    assert debian.problems


@pytest.mark.parametrize("table", TABLES)
def test_a_host_without_anything_is_refused_or_said(table: str, tmp_path: Path) -> None:
    looking = looking_at(tmp_path)

    try:
        listed = list(rows(table, looking))
    except HostFileMissing:
        return
    # A host may well be without these; one row of the cloud says that nothing speaks of one.
    assert looking.problems or table in {"certificates", "files", "cloud", "rights"}
    assert all(row["value"] is None for row in listed if table == "cloud")


@pytest.mark.parametrize("table", TABLES)
def test_this_host_is_listed_or_says_what_is_missing(table: str) -> None:
    looking = looking_at(Path("/"))

    looking.sources = FEW
    for row in rows(table, looking):
        assert set(row) <= set(TABLES[table].columns)


def test_an_unknown_table_is_an_error_at_once(debian: Looking) -> None:
    with pytest.raises(KeyError):
        rows("secrets", debian)
