"""The package database answers for every path whose it is, and is not led astray by diversions."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostFileMissing, HostRoot
from agent.sense.sensors.filepackages import (
    BLOCK_BYTES,
    PackageIndex,
    conffiles_in,
    digests_in,
    diversions_in,
    read_index,
)
from tests.agent.sense.sensors.dpkghost import DpkgHost, digest, link


@pytest.fixture
def host(tmp_path: Path) -> DpkgHost:
    return DpkgHost(tmp_path)


def found(index: PackageIndex, path: bytes) -> tuple[str, set[bytes]] | None:
    packaged = index.find(path)
    return None if packaged is None else (packaged.name, set(packaged.digests))


def test_a_packaged_file_has_an_owner_and_a_digest_and_no_other_has(host: DpkgHost) -> None:
    host.install("coreutils", {"usr/bin/ls": b"ls", "usr/bin/cat": b"cat"})

    index = host.index()

    assert found(index, b"/usr/bin/ls") == ("coreutils", {digest(b"ls")})
    assert found(index, b"/usr/bin/cat") == ("coreutils", {digest(b"cat")})
    assert found(index, b"/usr/bin/lsx") is None
    assert len(index) == 2


def test_a_package_of_an_architecture_is_named_without_it(host: DpkgHost) -> None:
    host.install("libc6:amd64", {"usr/lib/libc.so.6": b"c"})

    assert found(host.index(), b"/usr/lib/libc.so.6") == ("libc6", {digest(b"c")})


def test_a_path_through_a_directory_that_is_a_link_into_usr_is_the_same_file(
    host: DpkgHost,
) -> None:
    link(host.root, "bin", "usr/bin")
    link(host.root, "lib", "/usr/lib")
    link(host.root, "sbin", "elsewhere")
    host.list("old", {"bin/ls": b"ls", "lib/x86/ld.so": b"ld", "sbin/init": b"init"})

    index = host.index()

    assert found(index, b"/usr/bin/ls") == ("old", {digest(b"ls")})
    assert found(index, b"/usr/lib/x86/ld.so") == ("old", {digest(b"ld")})
    assert found(index, b"/usr/sbin/init") is None


def test_a_conffile_has_an_owner_and_no_digest(host: DpkgHost) -> None:
    host.install("p", {"etc/p.conf": b"x", "usr/bin/p": b"p"}, conffiles=("etc/p.conf", "etc/q"))

    index = host.index()

    assert found(index, b"/etc/p.conf") == ("p", set())
    assert found(index, b"/etc/q") == ("p", set())
    assert found(index, b"/usr/bin/p") == ("p", {digest(b"p")})


def test_a_diverted_file_is_looked_for_where_it_was_moved_to(host: DpkgHost) -> None:
    host.list("libpq", {"usr/bin/pg": b"plain"})
    host.list("common", {"usr/bin/pg": b"wrapped"})
    host.list("dash", {"usr/bin/sh": b"sh"})
    host.divert("/usr/bin/pg", "/usr/bin/pg.libpq", "common")
    host.divert(
        *("/usr/bin/pg", "/usr/bin/pg.libpq", "common"), *("/usr/bin/sh", "/usr/bin/sh.real", ":")
    )

    index = host.index()

    assert found(index, b"/usr/bin/pg") == ("common", {digest(b"wrapped")})
    assert found(index, b"/usr/bin/pg.libpq") == ("libpq", {digest(b"plain")})
    assert found(index, b"/usr/bin/sh") is None
    assert found(index, b"/usr/bin/sh.real") == ("dash", {digest(b"sh")})


def test_a_file_that_two_packages_list_may_be_either_ones(host: DpkgHost) -> None:
    host.list("first", {"usr/bin/x": b"1"})
    host.list("second", {"usr/bin/x": b"2"})

    packaged = host.index().find(b"/usr/bin/x")

    assert packaged is not None
    assert set(packaged.digests) == {digest(b"1"), digest(b"2")}


def test_a_half_installed_package_is_not_asked(host: DpkgHost) -> None:
    host.install("half", {"usr/bin/x": b"x"}, state="half-installed")

    assert found(host.index(), b"/usr/bin/x") is None


def test_only_directories_of_interest_are_kept(host: DpkgHost) -> None:
    host.install("p", {"usr/bin/a": b"a", "usr/share/b": b"b"})
    asked: list[bytes] = []

    def wanted(directory: bytes) -> bool:
        asked.append(directory)
        return directory == b"/usr/bin"

    with HostRoot(host.root) as root:
        steps = read_index(root, wanted)
        index = None
        while index is None:
            try:
                next(steps)
            except StopIteration as end:
                index = end.value

    assert len(index) == 1
    assert asked == [b"/usr/bin", b"/usr/share"]


def test_a_list_longer_than_a_block_loses_no_line(host: DpkgHost) -> None:
    names = {f"usr/share/{n:0>200}": b"%d" % n for n in range(1000)}
    host.list("big", names)

    index = host.index()

    assert (host.dpkg / "info/big.md5sums").stat().st_size > 3 * BLOCK_BYTES
    assert len(index) == 1000
    assert all(found(index, b"/" + name.encode()) for name in names)


def test_a_host_without_dpkg_says_so(tmp_path: Path) -> None:
    with HostRoot(tmp_path) as root, pytest.raises(HostFileMissing):
        list(read_index(root, lambda _: True))


def test_lists_that_go_or_cannot_be_read_judge_nothing(host: DpkgHost) -> None:
    host.install("p", {"usr/bin/p": b"p"})
    (host.dpkg / "info/q.md5sums").mkdir()
    link(host.dpkg, "info/r.md5sums", "nowhere")

    assert len(host.index()) == 1


def test_lines_that_are_none_are_passed_over() -> None:
    data = (
        b"d41d8cd98f00b204e9800998ecf8427e  usr/a\n"
        b"\\d41d8cd98f00b204e9800998ecf8427e  usr/b\\\\\n"
        b"xyz\n\nD41d8cd98f00b204e9800998ecf8427e  usr/c\n"
        b"d41d8cd98f00b204e9800998ecf8427e usr/d\n"
        b"d41d8cd98f00b204e9800998ecf8427e  with space \xff"
    )

    assert [path for _, path in digests_in(data)] == [b"usr/a", b"with space \xff"]
    assert list(conffiles_in(b"/etc/a\nremove-on-upgrade /etc/b\netc/c\n\n")) == [
        b"etc/a",
        b"etc/b",
    ]
    assert diversions_in(b"/a\nb\n:\n/c\n/d\n:\n/e\n/f") == diversions_in(b"\n\n\n/c\n/d\n:\n")


@given(st.binary(max_size=2000))
def test_any_bytes_are_digests_conffiles_and_diversions_or_nothing(data: bytes) -> None:
    for md5, path in digests_in(data):
        assert len(md5) == 16
        assert path
    for path in conffiles_in(data):
        assert b"\n" not in path
    for path, diversion in diversions_in(data).items():
        assert path.startswith(b"/")
        assert diversion.to.startswith(b"/")


@given(st.dictionaries(st.binary(min_size=1, max_size=20), st.binary(min_size=16, max_size=16)))
def test_what_is_in_an_index_is_found_and_nothing_else(files: dict[bytes, bytes]) -> None:
    made = DpkgIndex(files)

    assert all(found(made.index, path) == ("p", {md5}) for path, md5 in files.items() if any(md5))
    assert found(made.index, b"/not there, longer than any other") is None


class DpkgIndex:
    """An index made by hand."""

    def __init__(self, files: dict[bytes, bytes]) -> None:
        import hashlib  # noqa: PLC0415

        keys = {path: hashlib.blake2b(path, digest_size=8).digest() for path in files}
        entries = sorted(keys[path] + b"\0\0" + md5 for path, md5 in files.items())
        self.index = PackageIndex(b"".join(entries), ("p",))


@pytest.mark.parametrize("path", ["/usr/bin/dpkg", "/usr/bin/env"])
def test_this_hosts_own_programs_are_what_their_packages_made(path: str) -> None:
    if not Path("/var/lib/dpkg/status").exists() or not Path(path).exists():
        pytest.skip("this host has no dpkg")
    with HostRoot("/") as root:
        steps = read_index(root, lambda d: d == os.fsencode(Path(path).parent))
        index = None
        while index is None:
            try:
                next(steps)
            except StopIteration as end:
                index = end.value

    packaged = index.find(path.encode())

    assert packaged is not None
    assert digest(Path(path).read_bytes()) in packaged.digests
