"""A file is traced to its package and compared with it in one pass for any number of files."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from agent.hostroot import HostRoot
from agent.sense.mechanisms import LATER, MODIFIED, UNVERIFIED
from agent.sense.sensors import dpkg
from agent.sense.sensors.persist.packaged import (
    INFO,
    SETTLED_NS,
    Origin,
    aliases,
    digest_in,
    digest_of_conffile,
    origins,
)
from tests.agent.sense.sensors.persist.looking import as_nobody, put


def asked(root: Path | HostRoot, paths: Mapping[str, int]) -> dict[str, Origin]:
    steps = origins(HostRoot(root) if isinstance(root, Path) else root, paths)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: dict[str, Origin] = end.value
            return found


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, "/usr/bin/su", "su")
    put(tmp_path, "/lib/evil.so", "evil")
    put(tmp_path, "/etc/cron.d/job", "job")
    put(tmp_path, f"{INFO}/util:amd64.list", "/.\n/bin\n/bin/su\n/usr/lib/evil.so\n/etc/cron.d/job")
    put(
        tmp_path,
        f"{INFO}/util:amd64.md5sums",
        f"{md5(b'su')}  bin/su\n{md5(b'good')}  usr/lib/evil.so\n",
    )
    put(
        tmp_path,
        dpkg.STATUS_PATH,
        f"Package: util\nConffiles:\n /etc/cron.d/job {md5(b'job')}\n /etc/x y\n\n",
    )
    return tmp_path


def test_a_file_as_its_package_brought_it_is_told_so(root: Path) -> None:
    assert asked(root, {"/usr/bin/su": 0, "/etc/cron.d/job": 0}) == {
        "/usr/bin/su": Origin("util"),
        "/etc/cron.d/job": Origin("util"),
    }


def test_a_file_that_was_changed_since_is_told_so(root: Path) -> None:
    put(root, "/etc/cron.d/job", "other")

    found = asked(root, {"/etc/cron.d/job": 0, "/lib/evil.so": 0})

    assert {one.caveats for one in found.values()} == {(MODIFIED,)}


def test_a_file_of_no_package_and_a_host_without_dpkg_are_two_things(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bare = tmp_path_factory.mktemp("bare")

    assert asked(root, {"/tmp/x": 0}) == {"/tmp/x": Origin(None)}
    assert asked(bare, {"/tmp/x": 0}) == {"/tmp/x": Origin(UNSET)}


def test_a_file_that_cannot_be_compared_is_told_so(root: Path) -> None:
    (root / INFO.lstrip("/") / "util:amd64.md5sums").unlink()

    assert asked(root, {"/usr/bin/su": 0})["/usr/bin/su"].caveats == (UNVERIFIED,)


def test_rights_given_after_the_installation_are_told_by_time(root: Path) -> None:
    installed = (root / INFO.lstrip("/") / "util:amd64.list").stat().st_mtime_ns

    late = asked(root, {"/usr/bin/su": installed + SETTLED_NS + 1})
    with_it = asked(root, {"/usr/bin/su": installed + SETTLED_NS})

    assert late["/usr/bin/su"] == Origin("util", (LATER,))
    assert with_it["/usr/bin/su"] == Origin("util")


def test_many_files_and_large_lists_are_answered_as_few_are(root: Path) -> None:
    lines = "".join(f"/usr/share/doc/large/{number:06}\n" for number in range(20_000))
    put(root, f"{INFO}/large.list", lines)
    few = {f"/usr/share/doc/large/{number:06}": 0 for number in range(0, 20_000, 5_000)}
    many = {f"/usr/share/doc/large/{number:06}": 0 for number in range(0, 20_000, 500)}

    for paths in (few, many):
        assert {one.package for one in asked(root, paths).values()} == {"large"}


def test_a_merged_usr_has_two_names_for_a_file() -> None:
    assert aliases("/usr/bin/su") == ("/usr/bin/su", "/bin/su")
    assert aliases("/bin/su") == ("/bin/su", "/usr/bin/su")
    assert aliases("/usr/share/x") == ("/usr/share/x",)
    assert aliases("/etc/x") == ("/etc/x",)


@given(data=st.binary(max_size=200), path=st.text(max_size=20).filter(lambda t: t.isprintable()))
def test_any_list_has_a_digest_or_none(data: bytes, path: str) -> None:
    for found in (digest_in(data, path), digest_of_conffile(data, path)):
        assert found is None or len(found) == 32


def test_a_large_file_is_compared_and_one_that_cannot_be_read_is_not(root: Path) -> None:
    data = b"x" * 600_000
    put(root, "/usr/bin/su", data)
    put(root, f"{INFO}/util:amd64.md5sums", f"{md5(data)}  bin/su\n")
    large = asked(root, {"/usr/bin/su": 0})
    root.chmod(0o755)
    (root / "usr/bin/su").chmod(0o700)
    host = HostRoot(root)
    with as_nobody():
        closed = asked(host, {"/usr/bin/su": 0})
    (root / "usr/bin/su").unlink()

    assert large["/usr/bin/su"] == Origin("util")
    assert closed["/usr/bin/su"] == Origin("util", (UNVERIFIED,))
    assert asked(root, {"/usr/bin/su": 0})["/usr/bin/su"].caveats == (UNVERIFIED,)
