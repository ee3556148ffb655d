"""Containers are told by the names of control groups, of either version."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from agent.hostroot import HostRoot
from agent.sense.sensors import containers
from agent.sense.sensors.containers import ContainerListing, container_of
from agent.sense.sensors.listings import Unread
from proto.model import Container
from tests.agent.sense.sensors.listed import finished

A, B = "a" * 64, "b" * 64


def a_group(root: Path, path: str, *pids: int) -> None:
    made = root / "sys/fs/cgroup" / path.lstrip("/")
    made.mkdir(parents=True, exist_ok=True)
    (made / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


def containers_of(root: Path) -> list[Container]:
    listing = ContainerListing(HostRoot(root), 60)
    listing.look()
    found = finished(listing.read()).things.values()
    return [one for one in found if isinstance(one, Container)]


@pytest.mark.parametrize(
    ("folder", "group", "runtime", "unit"),
    [
        ("/system.slice", f"docker-{A}.scope", "docker", f"docker-{A}.scope"),
        ("/docker", A, "docker", None),
        (
            "/kubepods.slice/p",
            f"cri-containerd-{A}.scope",
            "containerd",
            f"cri-containerd-{A}.scope",
        ),
        ("/x.service", f"kubepods-p.slice:cri-containerd:{A}", "containerd", "x.service"),
        ("/kubepods.slice/p", f"crio-{A}.scope/container", "cri-o", f"crio-{A}.scope"),
        ("/machine.slice", f"libpod-{A}.scope", "podman", f"libpod-{A}.scope"),
        ("/kubepods/burstable/pod1", A, "kubernetes", None),
        ("/default", A, "unknown", None),
        (f"/docker/{B}/docker", A, "docker", None),
    ],
)
def test_a_group_names_its_innermost_container(
    folder: str, group: str, runtime: str, unit: str | None
) -> None:
    assert container_of(f"{folder}/{group}") == Container(A, runtime, unit=unit)


@pytest.mark.parametrize(
    ("path", "name", "runtime"),
    [
        ("/lxc/web", "web", "lxc"),
        ("/lxc.payload.web/system.slice", "web", "lxc"),
        ("/machine.slice/machine-deb.scope/payload", "deb", "systemd-nspawn"),
    ],
)
def test_a_named_container_has_its_name(path: str, name: str, runtime: str) -> None:
    found = container_of(path)

    assert found is not None
    assert (found.id, found.name, found.runtime) == (name, name, runtime)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/user.slice/user-0.slice/session-1.scope",
        f"/machine.slice/libpod-conmon-{A}.scope",
        "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
        f"/docker/{A[:-1]}",
    ],
)
def test_other_groups_name_none(path: str) -> None:
    assert container_of(path) is None


def test_processes_are_counted_with_those_of_inner_groups(tmp_path: Path) -> None:
    a_group(tmp_path, "/", 1, 2)
    a_group(tmp_path, f"/docker/{A}", 10)
    a_group(tmp_path, f"/docker/{A}/init.scope", 11, 12)
    a_group(tmp_path, f"/docker/{B}", 20)

    assert [(one.id, one.processes) for one in containers_of(tmp_path)] == [(A, 3), (B, 1)]


def test_a_container_in_several_hierarchies_is_one(tmp_path: Path) -> None:
    for hierarchy in ("systemd", "pids", "memory"):
        a_group(tmp_path, hierarchy, 1)
        a_group(tmp_path, f"{hierarchy}/docker/{A}", 10, 11)

    assert containers_of(tmp_path) == [Container(A, "docker", unit=None, processes=2)]


def test_what_only_a_runtime_knows_is_not_collected(tmp_path: Path) -> None:
    a_group(tmp_path, "/", 1)
    a_group(tmp_path, f"/docker/{A}", 10)

    (one,) = containers_of(tmp_path)

    assert (one.name, one.image) == (UNSET, UNSET)


def test_a_group_without_a_process_is_no_container(tmp_path: Path) -> None:
    a_group(tmp_path, "/", 1)
    a_group(tmp_path, f"/docker/{A}")

    assert containers_of(tmp_path) == []


def test_another_number_of_processes_is_no_difference_and_is_known(tmp_path: Path) -> None:
    a_group(tmp_path, "/", 1)
    a_group(tmp_path, f"/docker/{A}", 10)
    listing = ContainerListing(HostRoot(tmp_path), 60)
    (before,) = finished(listing.read()).things.values()
    a_group(tmp_path, f"/docker/{A}", 10, 11)
    (now,) = finished(listing.read()).things.values()

    assert listing.is_same(before, now)
    assert listing.fresh(before) == now
    assert not listing.is_same(before, Container(A, "podman"))


def test_a_group_that_cannot_be_read_is_said_and_the_rest_told(tmp_path: Path) -> None:
    a_group(tmp_path, "/", 1)
    a_group(tmp_path, f"/docker/{A}", 10)
    (tmp_path / "sys/fs/cgroup/docker" / B).mkdir()
    (tmp_path / "sys/fs/cgroup/lxc/web").mkdir(parents=True)
    os.mkfifo(tmp_path / "sys/fs/cgroup/lxc/web/cgroup.procs")
    listing = ContainerListing(HostRoot(tmp_path), 60)

    listed = finished(listing.read())

    assert list(listed.things) == [A.encode()]
    assert "lxc/web" in listed.problem


@pytest.mark.parametrize("limit", ["GROUPS_MAX", "CONTAINERS_MAX"])
def test_more_than_are_held_is_said(
    limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, limit, 1)
    a_group(tmp_path, "/", 1)
    for one in (A, B):
        a_group(tmp_path, f"/docker/{one}", 10)

    with pytest.raises(Unread) as refused:
        containers_of(tmp_path)
    assert not refused.value.is_absent


def test_a_part_of_the_control_groups_is_not_taken_for_all(tmp_path: Path) -> None:
    a_group(tmp_path, "/", 1)
    (tmp_path / "sys/fs/cgroup/cgroup.events").write_text("populated 1\n")

    listed = finished(ContainerListing(HostRoot(tmp_path), 60).read())

    assert "part" in listed.problem


def test_a_host_without_control_groups_is_nothing_amiss(tmp_path: Path) -> None:
    with pytest.raises(Unread) as refused:
        ContainerListing(HostRoot(tmp_path), 60).look()

    assert refused.value.is_absent


@given(st.text(alphabet="/-:.abcdef0docker lxcmachine\\\udcff", max_size=200))
def test_any_path_names_one_or_none(path: str) -> None:
    found = container_of(path)

    assert found is None or 0 < len(found.id) <= 256
