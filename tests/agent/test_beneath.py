import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.beneath import COMPONENTS_MAX, Openat2Resolver, Resolver, WalkResolver, best_resolver

NAMES = ["a", "b", "file", "up", "root", "file-link", "dir-link", "loop", "dangling", "..", ".", ""]
FLAGS = [
    os.O_PATH,
    os.O_PATH | os.O_NOFOLLOW,
    os.O_RDONLY,
    os.O_RDONLY | os.O_NOFOLLOW,
    os.O_RDONLY | os.O_DIRECTORY,
    os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW,
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> int:
    tree = tmp_path_factory.mktemp("root")
    for folder in (tree, tree / "a", tree / "a" / "b"):
        folder.mkdir(exist_ok=True)
        (folder / "file").write_bytes(b"x")
        (folder / "up").symlink_to("..")
        (folder / "root").symlink_to("/")
        (folder / "file-link").symlink_to("/a/file")
        (folder / "dir-link").symlink_to("/a/b/")
        (folder / "loop").symlink_to("loop")
        (folder / "dangling").symlink_to("/nowhere/")
    return os.open(tree, os.O_PATH)


def outcome(resolver: Resolver, root: int, path: bytes, flags: int) -> tuple[int, int] | int:
    """What a resolver finds: (inode, type), or the number of its refusal."""
    try:
        fd = resolver.open(root, path, flags)
    except OSError as error:
        return error.errno or 0
    try:
        found = os.fstat(fd)
        return found.st_ino, found.st_mode
    finally:
        os.close(fd)


@given(parts=st.lists(st.sampled_from(NAMES), max_size=8), flags=st.sampled_from(FLAGS))
def test_the_walk_finds_and_refuses_what_the_kernel_does(
    root: int, parts: list[str], flags: int
) -> None:
    if not isinstance(best_resolver(root), Openat2Resolver):
        pytest.skip("this kernel has no openat2, or a filter denies it")
    path = ("/" + "/".join(parts)).encode()

    by_kernel = outcome(Openat2Resolver(), root, path, flags)
    by_walk = outcome(WalkResolver(), root, path, flags)

    assert by_walk == by_kernel


def test_the_walk_holds_a_bounded_number_of_directories(root: int) -> None:
    path = b"/a" + b"/dir-link/up" * COMPONENTS_MAX

    assert isinstance(outcome(WalkResolver(), root, path, os.O_PATH), int)


@pytest.mark.parametrize("resolver", [Openat2Resolver(), WalkResolver()])
def test_a_directory_moved_out_meanwhile_leads_nowhere_else(
    tmp_path: Path, resolver: Resolver
) -> None:
    (tmp_path / "root" / "a" / "b").mkdir(parents=True)
    (tmp_path / "root" / "a" / "mark").touch()
    (tmp_path / "mark").touch()
    root = os.open(tmp_path / "root", os.O_PATH)
    outside = (tmp_path / "mark").stat()
    moving = threading.Event()

    def attack() -> None:
        while not moving.is_set():
            (tmp_path / "root" / "a" / "b").rename(tmp_path / "b")
            (tmp_path / "b").rename(tmp_path / "root" / "a" / "b")

    attacker = threading.Thread(target=attack)
    attacker.start()
    found = {outcome(resolver, root, b"/a/b/../mark", os.O_PATH) for _ in range(2000)}
    moving.set()
    attacker.join(5)

    assert (outside.st_ino, outside.st_mode) not in found
