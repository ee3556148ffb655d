"""The laws of reading host files, held by the kernel's resolver and by our own walk."""

import gc
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.beneath import Openat2Resolver, Resolver, WalkResolver, best_resolver
from agent.hostroot import (
    HostFileDenied,
    HostFileError,
    HostFileMissing,
    HostFileNotRegular,
    HostFileTooLarge,
    HostRoot,
)

SECRET = b"outside the root"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A host root beside a secret that no path may reach."""
    (tmp_path / "secret").write_bytes(SECRET)
    root = tmp_path / "root"
    (root / "etc" / "deep").mkdir(parents=True)
    (root / "etc" / "passwd").write_bytes(b"root:x:0:0\n")
    (root / "secret").write_bytes(b"inside")
    return root


def _kernel_resolves() -> bool:
    fd = os.open("/", os.O_PATH)
    try:
        return isinstance(best_resolver(fd), Openat2Resolver)
    finally:
        os.close(fd)


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(params=["openat2", "walk"])
def host(request: pytest.FixtureRequest, tree: Path) -> Iterator[HostRoot]:
    if request.param == "openat2" and not _kernel_resolves():
        pytest.skip("this kernel has no openat2, or a filter denies it")
    resolver: Resolver = Openat2Resolver() if request.param == "openat2" else WalkResolver()
    with HostRoot(tree, resolver) as root:
        yield root


def test_a_file_is_read_whole(host: HostRoot) -> None:
    assert host.read_bytes("/etc/passwd", 1024) == b"root:x:0:0\n"
    assert host.read_bytes("etc//./passwd", 1024) == b"root:x:0:0\n"
    assert host.read_bytes(b"/etc/deep/../passwd", 1024) == b"root:x:0:0\n"


def test_dots_end_at_the_root(host: HostRoot) -> None:
    assert host.read_bytes("/../../../secret", 64) == b"inside"
    assert host.read_bytes("/etc/deep/../../../secret", 64) == b"inside"


@pytest.mark.parametrize("target", ["/secret", "../../secret", "../../../../../../secret"])
def test_a_link_cannot_leave_the_root(host: HostRoot, tree: Path, target: str) -> None:
    (tree / "etc" / "link").symlink_to(target)

    assert host.read_bytes("/etc/link", 64) == b"inside"


def test_a_linked_directory_cannot_leave_the_root(host: HostRoot, tree: Path) -> None:
    (tree / "up").symlink_to("..")
    (tree / "etc" / "root").symlink_to("/")

    assert host.read_bytes("/up/secret", 64) == b"inside"
    assert host.read_bytes("/etc/root/../secret", 64) == b"inside"
    with pytest.raises(HostFileMissing):
        host.read_bytes(f"/etc/root{tree}/secret", 64)


def test_links_to_links_are_followed_up_to_forty(host: HostRoot, tree: Path) -> None:
    (tree / "l0").symlink_to("etc/passwd")
    for depth in range(1, 41):
        (tree / f"l{depth}").symlink_to(f"l{depth - 1}")

    assert host.read_bytes("/l39", 64) == b"root:x:0:0\n"
    with pytest.raises(HostFileMissing):
        host.read_bytes("/l40", 64)


def test_a_loop_ends(host: HostRoot, tree: Path) -> None:
    (tree / "a").symlink_to("b")
    (tree / "b").symlink_to("a")
    (tree / "self").symlink_to("self/self")

    for path in ("/a", "/self", "/a/x"):
        with pytest.raises(HostFileMissing):
            host.read_bytes(path, 64)


def test_a_fifo_is_refused_and_never_opened(host: HostRoot, tree: Path) -> None:
    os.mkfifo(tree / "fifo")

    with pytest.raises(HostFileNotRegular):
        host.read_bytes("/fifo", 64)

    with pytest.raises(OSError, match="No such device"):  # so there is no reader
        os.open(tree / "fifo", os.O_WRONLY | os.O_NONBLOCK)


def test_sockets_and_directories_are_not_files(host: HostRoot, tree: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(tree, os.O_PATH)
        listener.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)

        for path in ("/socket", "/etc", "/"):
            with pytest.raises(HostFileNotRegular):
                host.read_bytes(path, 64)


def test_a_device_is_refused() -> None:
    with HostRoot("/") as host, pytest.raises(HostFileNotRegular):
        host.open("/dev/null")


def test_a_huge_file_is_refused_by_its_bytes_and_not_by_its_word(
    host: HostRoot, tree: Path
) -> None:
    with (tree / "huge").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(HostFileTooLarge):
        host.read_bytes("/huge", 100_000)


def test_a_file_of_exactly_the_limit_is_read(host: HostRoot, tree: Path) -> None:
    (tree / "exact").write_bytes(b"x" * 200_000)

    assert len(host.read_bytes("/exact", 200_000)) == 200_000
    with pytest.raises(HostFileTooLarge):
        host.read_bytes("/exact", 199_999)


def test_what_is_not_there_is_missing(host: HostRoot, tree: Path) -> None:
    deep = "/".join(["d"] * 3000)

    for path in ("/nope", "/etc/nope/x", "/etc/passwd/x", "/etc/passwd/", "", "/a\0b", deep):
        with pytest.raises(HostFileMissing):
            host.read_bytes(path, 64)


def test_a_root_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(HostFileMissing):
        HostRoot(tmp_path / "nope")


def test_an_unreadable_file_is_denied(host: HostRoot, tree: Path) -> None:
    (tree / "locked").write_bytes(b"x")
    (tree / "locked").chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root reads every file")

    with pytest.raises(HostFileDenied):
        host.read_bytes("/locked", 64)


def test_metadata_of_a_link_and_of_its_target_differ(host: HostRoot, tree: Path) -> None:
    (tree / "link").symlink_to("/etc/passwd")

    followed = host.stat("/link")
    itself = host.stat("/link", follow=False)

    assert followed.st_ino == (tree / "etc" / "passwd").stat().st_ino
    assert itself.st_ino == (tree / "link").lstat().st_ino


def test_a_link_is_read_as_written(host: HostRoot, tree: Path) -> None:
    (tree / "link").symlink_to("../../secret")
    (tree / "to-etc").symlink_to("etc")

    assert host.readlink("/link") == "../../secret"
    assert host.readlink("/to-etc") == "etc"
    with pytest.raises(HostFileNotRegular):
        host.readlink("/etc/passwd")
    with pytest.raises(HostFileNotRegular):
        host.readlink("/to-etc/")


def test_a_directory_lists_names_and_what_they_are_themselves(host: HostRoot, tree: Path) -> None:
    (tree / "etc" / "link").symlink_to("deep")

    entries = {entry.name: entry for entry in host.scandir("/etc")}
    kinds = {name: (e.is_dir(), e.is_file(), e.is_symlink()) for name, e in entries.items()}

    assert kinds == {
        "deep": (True, False, False),
        "passwd": (False, True, False),
        "link": (False, False, True),
    }
    with pytest.raises(HostFileMissing):
        list(host.scandir("/etc/passwd"))


def test_an_entry_gives_its_own_metadata_while_listed(host: HostRoot, tree: Path) -> None:
    (tree / "etc" / "deep" / "link").symlink_to("/secret")

    sizes = [entry.stat().st_size for entry in host.scandir("/etc/deep")]

    assert sizes == [len("/secret")]


def test_a_path_descriptor_stands_for_anything_without_opening_it(
    host: HostRoot, tree: Path
) -> None:
    os.mkfifo(tree / "fifo")

    fd = host.open("/fifo", os.O_PATH)

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.read(fd, 1)
    os.close(fd)


def test_nothing_is_ever_opened_for_writing(host: HostRoot) -> None:
    with pytest.raises(ValueError, match="never written"):
        host.open("/etc/passwd", os.O_RDWR)


def test_a_link_is_not_followed_where_told_so(host: HostRoot, tree: Path) -> None:
    (tree / "link").symlink_to("/etc/passwd")
    (tree / "dir").symlink_to("/etc")

    for path, flags in (
        ("/link", os.O_NOFOLLOW),
        ("/dir", os.O_NOFOLLOW | os.O_DIRECTORY),
    ):
        with pytest.raises(HostFileError):
            host.open(path, flags)
    os.close(host.open("/dir/", os.O_NOFOLLOW | os.O_DIRECTORY))


def test_reading_leaves_no_descriptor_open(host: HostRoot, tree: Path) -> None:
    os.mkfifo(tree / "fifo")
    (tree / "a").symlink_to("a")
    before = _open_descriptors()

    host.read_bytes("/etc/deep/../../etc/passwd", 64)
    host.stat("/etc")
    list(host.scandir("/etc"))
    for path in ("/fifo", "/a", "/etc", "/etc/passwd/x", "/etc/deep/nope"):
        with pytest.raises(HostFileError):
            host.read_bytes(path, 64)

    assert _open_descriptors() <= before


def test_access_times_stay_as_they_are_for_the_owner(host: HostRoot, tree: Path) -> None:
    path = tree / "etc" / "passwd"
    os.utime(path, ns=(1_000_000_000, 2_000_000_000))

    host.read_bytes("/etc/passwd", 64)

    assert path.stat().st_atime_ns == 1_000_000_000


def test_an_error_shows_a_hostile_path_bounded_and_without_raw_bytes(host: HostRoot) -> None:
    with pytest.raises(HostFileMissing) as caught:
        host.read_bytes(b"/\xff" + b"n" * 4000, 64)

    assert caught.value.path.startswith("/\\xff")
    assert len(caught.value.path) <= 256


@pytest.mark.root
@pytest.mark.parametrize("resolver", ["Openat2Resolver", "WalkResolver"])
def test_a_bind_mount_inside_the_root_is_part_of_it(tree: Path, resolver: str) -> None:
    (tree / "mnt").mkdir()
    script = (
        "import sys; from agent import beneath, hostroot;"
        f"host = hostroot.HostRoot(sys.argv[1], beneath.{resolver}());"
        "sys.stdout.buffer.write(host.read_bytes('/mnt/../mnt/secret', 64))"
    )
    mounted = 'mount --bind "$1" "$2/mnt" && exec "$3" -c "$4" "$2"'
    folder = tree.parent / "elsewhere"
    folder.mkdir()
    (folder / "secret").write_bytes(b"mounted")

    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, "sh", folder, tree, sys.executable, script],
        capture_output=True,
        check=False,
    )

    if b"unshare" in done.stderr or b"mount:" in done.stderr:
        pytest.skip(f"needs the right to mount: {done.stderr.decode().strip()}")
    assert (done.stdout, done.stderr) == (b"mounted", b"")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "", "etc", "deep", "up", "root", "link", "secret", "x"]),
        max_size=12,
    )
)
def test_no_path_of_any_shape_reaches_outside(host: HostRoot, tree: Path, parts: list[str]) -> None:
    for name, target in (("up", ".."), ("root", "/"), ("link", "../../secret")):
        for folder in (tree, tree / "etc", tree / "etc" / "deep"):
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(target)

    try:
        data = host.read_bytes("/" + "/".join(parts), 64)
    except HostFileError:
        data = b""

    assert data != SECRET


def test_a_root_that_nobody_holds_lets_go_of_its_descriptor(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(10):
        HostRoot(tmp_path).stat("/")
    with pytest.raises(HostFileMissing):
        HostRoot(tmp_path / "none")
    gc.collect()

    assert len(list(Path("/proc/self/fd").iterdir())) <= before
