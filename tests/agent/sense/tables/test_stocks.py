"""The inventory's tables show what its sensors state."""

from pathlib import Path

from agent.sense.tables import stocks
from tests.agent.sense.sensors.hosts import a_golden_host
from tests.agent.sense.tables.views import looking_at, shown, write

ID = "a" * 64


def test_packages_are_rows(tmp_path: Path) -> None:
    looking = looking_at(a_golden_host("debian12", tmp_path))

    rows = shown(stocks.PACKAGES, looking)

    assert "bash" in {row["name"] for row in rows}
    assert looking.problems == []


def test_a_host_without_package_managers_is_said(tmp_path: Path) -> None:
    looking = looking_at(tmp_path)

    assert shown(stocks.PACKAGES, looking) == []
    assert len(looking.problems) == 2


def test_containers_are_rows_without_what_was_not_collected(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"sys/fs/cgroup/cgroup.procs": "1\n", f"sys/fs/cgroup/docker/{ID}/cgroup.procs": "2\n"},
    )

    assert shown(stocks.CONTAINERS, looking_at(tmp_path)) == [
        {"id": ID, "runtime": "docker", "unit": None, "processes": 1}
    ]


def test_a_host_without_control_groups_is_said(tmp_path: Path) -> None:
    looking = looking_at(tmp_path)

    assert shown(stocks.CONTAINERS, looking) == []
    assert looking.problems


def test_facts_are_rows(tmp_path: Path) -> None:
    looking = looking_at(
        write(tmp_path, {"proc/sys/kernel/osrelease": "6.1\n", "etc/os-release": "ID=x\n"})
    )

    values = {row["name"]: row["value"] for row in shown(stocks.FACTS, looking)}

    assert (values["os.id"], values["kernel.release"]) == ("x", "6.1")
