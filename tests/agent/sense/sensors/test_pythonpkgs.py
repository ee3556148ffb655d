"""Python packages are those with metadata in known directories, each with where it lies."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.sensors import pythonpkgs
from agent.sense.sensors.listings import Unread
from agent.sense.sensors.pythonpkgs import PythonListing, parse_metadata
from proto.model import Package
from tests.agent.sense.sensors.listed import finished

DIST = "/usr/lib/python3/dist-packages"


def install(root: Path, place: str, name: str, text: str, file: str = "METADATA") -> Path:
    made = root / place.lstrip("/") / name
    made.mkdir(parents=True)
    (made / file).write_text(text)
    return made


def a_listing(root: Path, *environments: str) -> PythonListing:
    return PythonListing(HostRoot(root), 600, environments)


def packages_of(listing: PythonListing) -> list[tuple[str, str, str | None]]:
    found = finished(listing.read()).things.values()
    return sorted((p.name, p.version, p.path) for p in found if isinstance(p, Package))


def test_a_package_is_named_by_its_metadata_and_normalised(tmp_path: Path) -> None:
    install(tmp_path, DIST, "x.dist-info", "Metadata-Version: 2.1\nName: My.Pkg_X\nVersion: 1.0\n")
    install(tmp_path, DIST, "old.egg-info", "Name: old\nVersion: 2\n", "PKG-INFO")
    single = tmp_path / DIST.lstrip("/") / "single.egg-info"
    single.write_text("Name: single\nVersion: 3\n")

    assert packages_of(a_listing(tmp_path)) == [
        ("my-pkg-x", "1.0", DIST),
        ("old", "2", DIST),
        ("single", "3", DIST),
    ]


def test_a_package_in_two_directories_is_there_twice(tmp_path: Path) -> None:
    places = ["/usr/local/lib/python3.11/site-packages", "/srv/app/lib/python3.12/site-packages"]
    for number, place in enumerate(places):
        install(tmp_path, place, "six.dist-info", f"Name: six\nVersion: 1.{number}\n")

    assert packages_of(a_listing(tmp_path, "/srv/app")) == [
        ("six", "1.0", places[0]),
        ("six", "1.1", places[1]),
    ]


def test_a_directory_with_two_names_is_looked_at_once(tmp_path: Path) -> None:
    install(tmp_path, "/usr/lib/python3/site-packages", "a.dist-info", "Name: a\nVersion: 1\n")
    (tmp_path / "usr/lib64").symlink_to("lib")

    assert len(packages_of(a_listing(tmp_path))) == 1


def test_text_below_the_header_names_nothing(tmp_path: Path) -> None:
    text = "Name: a\nVersion: 1\n\nName: b\nVersion: 2\n"

    assert parse_metadata(text.encode(), DIST) == Package("python", "a", "1", path=DIST)


def test_a_long_description_is_not_read(tmp_path: Path) -> None:
    install(tmp_path, DIST, "a.dist-info", "Name: a\nVersion: 1\n\n" + "x" * 10_000_000)

    assert packages_of(a_listing(tmp_path)) == [("a", "1", DIST)]


@pytest.mark.parametrize("text", ["", "Name: ../a\nVersion: 1\n", "Name: a\nVersion: 1 2\n"])
def test_metadata_that_names_nothing_is_counted(text: str, tmp_path: Path) -> None:
    install(tmp_path, DIST, "a.dist-info", text)

    listed = finished(a_listing(tmp_path).read())

    assert (listed.things, listed.odd) == ({}, 1)


def test_what_an_installer_left_behind_empty_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / DIST.lstrip("/") / "~a.dist-info").mkdir(parents=True)

    listed = finished(a_listing(tmp_path).read())

    assert (listed.things, listed.odd) == ({}, 0)


def test_the_stamp_moves_when_a_package_comes(tmp_path: Path) -> None:
    made = install(tmp_path, DIST, "a.dist-info", "Name: a\nVersion: 1\n")
    os.utime(made.parent, ns=(1, 1))
    before = a_listing(tmp_path).look()
    assert a_listing(tmp_path).look() == before

    install(tmp_path, DIST, "b.dist-info", "Name: b\nVersion: 1\n")

    assert a_listing(tmp_path).look() != before


def test_a_host_without_python_is_nothing_amiss(tmp_path: Path) -> None:
    with pytest.raises(Unread) as refused:
        a_listing(tmp_path, "/srv/none").look()

    assert refused.value.is_absent


def test_a_directory_that_is_none_is_said_and_leaves_the_rest(tmp_path: Path) -> None:
    install(tmp_path, DIST, "a.dist-info", "Name: a\nVersion: 1\n")
    os.mkfifo(tmp_path / "usr/lib/python3.9")
    (tmp_path / "usr/local/lib/python3.9/site-packages").mkdir(parents=True)
    os.mkfifo(tmp_path / "usr/local/lib/python3.9/site-packages/x.egg-info")

    assert packages_of(a_listing(tmp_path)) == [("a", "1", DIST)]


def test_more_packages_than_are_held_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pythonpkgs, "PACKAGES_MAX", 1)
    for name in "abc":
        install(tmp_path, DIST, f"{name}.dist-info", f"Name: {name}\nVersion: 1\n")

    with pytest.raises(Unread) as refused:
        packages_of(a_listing(tmp_path))
    assert not refused.value.is_absent


def test_more_directories_than_are_looked_at_are_said_and_nothing_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pythonpkgs, "ROOTS_MAX", 0)
    install(tmp_path, DIST, "a.dist-info", "Name: a\nVersion: 1\n")

    assert finished(a_listing(tmp_path).read()).problem
    assert a_listing(tmp_path).look().stamp == b""


@given(st.binary(max_size=500))
def test_any_bytes_are_a_package_or_none(data: bytes) -> None:
    package = parse_metadata(data, DIST)

    assert package is None or (package.name and package.version)
