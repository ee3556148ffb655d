"""dpkg's status is read as dpkg reads it, and any bytes do no harm."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.sensors import dpkg
from agent.sense.sensors.listings import Unread
from proto.model import Package
from tests.agent.sense.sensors.listed import finished

STATUS = b"""\
Package: bash
Essential: yes
Status: install ok installed
Priority: required
Architecture: amd64
Version: 5.2.15-2+b7
Conffiles:
 /etc/bash.bashrc 89269e1298235f1b12b4c16e4065ad0d
Description: GNU Bourne Again SHell
 Package: not-a-field
\tVersion: 9
 .
 Status: install ok installed

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1.0

Package: libc6
Status: install ok half-configured
Architecture: amd64
Multi-Arch: same
Version: 2.36-9+deb12u10

Package: libc6
Status: install ok unpacked
Architecture: i386
Version: 1:2.36~rc1-9
"""


def a_stanza(**fields: str) -> bytes:
    values = {
        "Package": "one",
        "Status": "install ok installed",
        "Architecture": "amd64",
        "Version": "1",
    } | fields
    return "".join(f"{name}: {value}\n" for name, value in values.items()).encode() + b"\n"


def test_packages_present_are_told_in_every_state_that_leaves_files() -> None:
    assert dpkg.packages(STATUS) == [
        Package("deb", "bash", "5.2.15-2+b7", "amd64", "installed"),
        Package("deb", "libc6", "2.36-9+deb12u10", "amd64", "half-configured"),
        Package("deb", "libc6", "1:2.36~rc1-9", "i386", "unpacked"),
    ]


def test_a_continuation_line_is_never_a_field() -> None:
    (bash, *_) = dpkg.packages(STATUS)

    assert (bash.name, bash.version) == ("bash", "5.2.15-2+b7")


def test_the_first_of_equal_fields_counts_and_case_does_not() -> None:
    data = a_stanza(version="2") + b"PACKAGE: two\nstatus: install ok installed\nVERSION: 3\n"

    assert [(p.name, p.version) for p in dpkg.packages(data)] == [("one", "1"), ("two", "3")]


def test_what_is_no_package_is_counted_and_not_told() -> None:
    data = (
        a_stanza(Package="-rf")
        + a_stanza(Version="1; rm")
        + a_stanza(Architecture="../x")
        + a_stanza(Status="installed")
        + a_stanza(Package="n" * 300)
        + b"no fields\n\n"
        + a_stanza(Package="good")
    )

    found = list(dpkg.stanzas(data))

    assert [stanza.is_odd for stanza in found] == [True] * 6 + [False]
    assert [package.name for package in dpkg.packages(data)] == ["good"]


def test_a_huge_field_costs_its_own_stanza_alone() -> None:
    huge = b"Description: " + b"x" * (2 * dpkg.STANZA_BYTES_MAX) + b"\n"
    data = b"Package: early\nStatus: install ok installed\nVersion: 1\n" + huge + b"\n" + a_stanza()

    assert [package.name for package in dpkg.packages(data)] == ["early", "one"]


def test_the_number_of_packages_is_bounded() -> None:
    data = b"".join(a_stanza(Package=f"p{number}") for number in range(dpkg.PACKAGES_MAX + 5))

    assert len(dpkg.packages(data)) == dpkg.PACKAGES_MAX


@given(st.binary(max_size=2000))
def test_any_bytes_give_stanzas(data: bytes) -> None:
    assert all(s.package is None or not s.is_odd for s in dpkg.stanzas(data))


@given(st.text("ab :\n\tPackage", max_size=300))
def test_no_text_around_a_package_hides_or_forges_it(noise: str) -> None:
    data = a_stanza() + b"\n\n " + noise.encode() + b"\n\n" + a_stanza(Package="two")

    names = [package.name for package in dpkg.packages(data)]

    assert names[0] == "one"
    assert names[-1] == "two"


def listed_in(folder: Path) -> dpkg.DpkgListing:
    (folder / "var/lib/dpkg").mkdir(parents=True)
    (folder / "var/lib/dpkg/status").write_bytes(STATUS)
    return dpkg.DpkgListing(HostRoot(folder), 600)


def test_a_listing_has_a_key_a_package_and_architecture(tmp_path: Path) -> None:
    listed = finished(listed_in(tmp_path).read())

    assert sorted(listed.things) == [b"bash\0amd64", b"libc6\0amd64", b"libc6\0i386"]


def test_the_stamp_moves_with_the_file_alone(tmp_path: Path) -> None:
    listing = listed_in(tmp_path)
    before = listing.look()
    assert listing.look() == before

    (tmp_path / "var/lib/dpkg/status").write_bytes(STATUS + b"\n")

    assert listing.look() != before


def test_no_file_is_nothing_amiss_and_one_without_packages_is(tmp_path: Path) -> None:
    with pytest.raises(Unread) as absent:
        dpkg.DpkgListing(HostRoot(tmp_path), 600).look()
    listing = listed_in(tmp_path)
    (tmp_path / "var/lib/dpkg/status").write_bytes(b"")
    with pytest.raises(Unread) as empty:
        finished(listing.read())

    assert (absent.value.is_absent, empty.value.is_absent) == (True, False)
