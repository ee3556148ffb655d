"""Which files are watched: the configured trees and what lies inside them. No file is read here."""

import fnmatch
import os
import re
from collections.abc import Iterator
from typing import Annotated, Final

from msgspec import Meta, Struct

ROOTS_MAX: Final = 1024
DEPTH_MAX: Final = 128

# Absolute, without empty components and without "." and "..".
_PATH: Final = r"^(/|(/(?!\.{1,2}(/|$))[^/\x00]+)+)\Z"

Pattern = Annotated[str, Meta(min_length=1, max_length=1024)]


class Tree(Struct, frozen=True, forbid_unknown_fields=True):
    """One tree to watch, or one file."""

    # Absolute, as the host sees it. A component "*" stands for every directory there.
    path: Annotated[str, Meta(pattern=_PATH, max_length=4096)]
    # Whether the directories below count too; other file systems mounted there never do.
    recursive: bool = True
    # Deeper directories are not looked at: a maze must end somewhere.
    depth_max: Annotated[int, Meta(ge=0, le=DEPTH_MAX)] = 32
    # Shell patterns; with a slash against the whole path ("*" matches slashes), else the name.
    exclude: Annotated[tuple[Pattern, ...], Meta(max_length=256)] = ()


DEFAULT_TREES: Final = (
    Tree("/etc"),
    Tree("/usr/bin", recursive=False),
    Tree("/usr/sbin", recursive=False),
    Tree("/usr/local/bin"),
    Tree("/usr/local/sbin"),
    Tree("/usr/lib/systemd/system"),
    Tree("/var/spool/cron"),
    Tree("/root/.ssh"),
    Tree("/home/*/.ssh"),
    Tree("/var/www"),
)


class FileSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the file sensor watches and how hard."""

    # Short and critical by default: what starts, what logs in, what is served.
    trees: Annotated[tuple[Tree, ...], Meta(max_length=256)] = DEFAULT_TREES
    # Events can be lost and some changes make none; every so often all metadata is compared.
    sweep_interval_s: Annotated[int, Meta(ge=5, le=86_400)] = 600
    # A larger file is told without its hash, so that one image does not stop the rest.
    hash_bytes_max: Annotated[int, Meta(ge=0, le=1 << 36)] = 256 * 1024 * 1024
    # Files remembered; the ones beyond are not watched, and health says so.
    entries_max: Annotated[int, Meta(ge=1, le=2_000_000)] = 50_000
    # One mark on a file system instead of a watch on each directory, where that is permitted.
    fanotify: bool = True
    # Each watched directory costs about 1 KiB of kernel memory; the rest is swept only.
    watches_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 8_192
    # Bounds our database before the disk does.
    state_bytes_max: Annotated[int, Meta(ge=1 << 20, le=1 << 33)] = 64 * 1024 * 1024


class Place(Struct, frozen=True):
    """A directory being watched: where, for which tree, and how deep below its root."""

    path: bytes
    tree: int
    depth: int = 0


class Scope:
    """The trees of the settings, ready to ask.

    Where one tree lies inside another the inner one owns its part.
    """

    def __init__(self, trees: tuple[Tree, ...]) -> None:
        self.trees = trees
        self._excludes = [_compiled(tree.exclude) for tree in trees]
        self._inner = {os.fsencode(tree.path).rstrip(b"/") for tree in trees}
        self._tops = [_literal(tree) for tree in trees]

    def may_hold(self, directory: bytes) -> bool:
        """Tell whether files of a directory may be in a tree; True may be wrong, False is not."""
        here = directory.rstrip(b"/") + b"/"
        return any(
            here in {top, above} or (is_deep and here.startswith(top))
            for above, top, is_deep in self._tops
        )

    def concerns(self, point: bytes) -> bool:
        """Tell whether something mounted at a path may be in a tree, or hide one."""
        above = point.rstrip(b"/") + b"/"
        return self.may_hold(point) or any(top.startswith(above) for _, top, _ in self._tops)

    def root(self, tree: int, path: bytes) -> Place:
        """Return the place where a tree begins."""
        return Place(path.rstrip(b"/"), tree)

    def below(self, place: Place, name: bytes) -> Place | None:
        """Return the place of a directory in ``place``; None where the tree ends before it."""
        tree = self.trees[place.tree]
        path = place.path + b"/" + name
        if not tree.recursive or place.depth >= tree.depth_max or path in self._inner:
            return None
        return Place(path, place.tree, place.depth + 1)

    def excludes(self, place: Place, name: bytes) -> bool:
        """Tell whether the settings leave out what has this name in this place."""
        by_name, by_path = self._excludes[place.tree]
        if by_name is not None and by_name.fullmatch(os.fsdecode(name)):
            return True
        return by_path is not None and bool(
            by_path.fullmatch(os.fsdecode(place.path + b"/" + name))
        )


def _literal(tree: Tree) -> tuple[bytes, bytes, bool]:
    """Return what needs no look at the host: the tree may be a file, so its parent, and itself."""
    path = os.fsencode(tree.path).rstrip(b"/")
    head, star, _ = path.partition(b"/*")
    return head.rpartition(b"/")[0] + b"/", head + b"/", tree.recursive or bool(star)


def upward(path: bytes) -> Iterator[bytes]:
    """Yield the path and every directory above it; the root is the empty path."""
    yield path
    while path:
        path = path.rpartition(b"/")[0]
        yield path


def _compiled(patterns: tuple[str, ...]) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
    return (
        _any_of([p for p in patterns if "/" not in p]),
        _any_of([p for p in patterns if "/" in p]),
    )


def _any_of(patterns: list[str]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
