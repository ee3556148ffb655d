"""Node packages are those with a manifest, each with where it lies; the walk is bounded."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.sensors import npmpkgs
from agent.sense.sensors.listings import Unread
from agent.sense.sensors.npmpkgs import NpmListing, parse_manifest
from proto.model import Package
from tests.agent.sense.sensors.listed import finished

GLOBAL = "/usr/lib/node_modules"


def install(root: Path, place: str, version: str, name: str | None = None) -> Path:
    made = root / place.lstrip("/")
    made.mkdir(parents=True)
    text = json.dumps({"name": name or place.rpartition("node_modules/")[2], "version": version})
    (made / "package.json").write_text(text)
    return made


def a_listing(root: Path, *projects: str) -> NpmListing:
    return NpmListing(HostRoot(root), 600, projects)


def packages_of(listing: NpmListing) -> list[tuple[str, str, str | None]]:
    found = finished(listing.read()).things.values()
    return sorted((p.name, p.version, p.path) for p in found if isinstance(p, Package))


def test_packages_scoped_and_nested_are_all_there(tmp_path: Path) -> None:
    install(tmp_path, f"{GLOBAL}/npm", "10.0.0")
    install(tmp_path, f"{GLOBAL}/npm/node_modules/semver", "7.1.0")
    install(tmp_path, f"{GLOBAL}/@angular/cli", "17.0.0")
    install(tmp_path, f"{GLOBAL}/@angular/cli/node_modules/semver", "6.0.0")

    assert packages_of(a_listing(tmp_path)) == [
        ("@angular/cli", "17.0.0", f"{GLOBAL}/@angular/cli"),
        ("npm", "10.0.0", f"{GLOBAL}/npm"),
        ("semver", "6.0.0", f"{GLOBAL}/@angular/cli/node_modules/semver"),
        ("semver", "7.1.0", f"{GLOBAL}/npm/node_modules/semver"),
    ]


def test_projects_are_looked_at_where_the_settings_name_them(tmp_path: Path) -> None:
    install(tmp_path, "/srv/app/node_modules/left-pad", "1.3.0")

    assert packages_of(a_listing(tmp_path)) == []
    assert packages_of(a_listing(tmp_path, "/srv/app/")) == [
        ("left-pad", "1.3.0", "/srv/app/node_modules/left-pad")
    ]


def test_links_and_hidden_directories_are_not_followed(tmp_path: Path) -> None:
    made = install(tmp_path, f"{GLOBAL}/a", "1.0.0")
    (made / "node_modules").symlink_to("..")
    (made.parent / "b").symlink_to("a")
    install(tmp_path, f"{GLOBAL}/.cache", "1.0.0", "cache")

    assert [name for name, *_ in packages_of(a_listing(tmp_path))] == ["a"]


def test_a_nest_without_end_is_left(tmp_path: Path) -> None:
    place = GLOBAL
    for _ in range(npmpkgs.DEPTH_MAX + 5):
        place += "/a"
        install(tmp_path, place, "1.0.0", "a")
        place += "/node_modules"

    assert len(packages_of(a_listing(tmp_path))) == npmpkgs.DEPTH_MAX + 1


def test_more_packages_than_are_held_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npmpkgs, "PACKAGES_MAX", 1)
    for name in "abc":
        install(tmp_path, f"{GLOBAL}/{name}/node_modules/x", "1.0.0")

    with pytest.raises(Unread) as refused:
        packages_of(a_listing(tmp_path))
    assert not refused.value.is_absent


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"name": 3, "version": "1"}', '{"name": "../x", "version": "1"}', "{" * 9]
)
def test_a_manifest_that_names_nothing_is_counted(text: str, tmp_path: Path) -> None:
    (install(tmp_path, f"{GLOBAL}/a", "1.0.0") / "package.json").write_text(text)

    listed = finished(a_listing(tmp_path).read())

    assert (listed.things, listed.odd) == ({}, 1)


def test_a_directory_without_a_manifest_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "usr/lib/node_modules/empty").mkdir(parents=True)

    listed = finished(a_listing(tmp_path).read())

    assert (listed.things, listed.odd) == ({}, 0)


def test_a_manifest_that_is_no_file_stops_nothing(tmp_path: Path) -> None:
    made = tmp_path / "usr/lib/node_modules/a"
    made.mkdir(parents=True)
    os.mkfifo(made / "package.json")

    assert packages_of(a_listing(tmp_path)) == []


def test_the_stamp_moves_when_npm_changes_a_project(tmp_path: Path) -> None:
    made = install(tmp_path, "/srv/app/node_modules/a", "1.0.0")
    lock = made.parent / ".package-lock.json"
    lock.write_text("{}")
    listing = a_listing(tmp_path, "/srv/app")
    before = listing.look()
    assert listing.look() == before

    lock.write_text('{"packages": {}}')

    assert listing.look() != before


def test_a_host_without_node_is_nothing_amiss(tmp_path: Path) -> None:
    with pytest.raises(Unread) as refused:
        a_listing(tmp_path).look()

    assert refused.value.is_absent


@given(st.binary(max_size=300))
def test_any_bytes_are_a_package_or_none(data: bytes) -> None:
    package = parse_manifest(data, "/x")

    assert package is None or (package.name and package.version)
