"""Reads list files from the disk, bounded before and after unpacking."""

import glob
import zlib
from pathlib import Path
from typing import Final

from collector.feeds.compile import FeedFile, FeedInput
from collector.feeds.errors import FeedUnusable, WarningListUnusable
from collector.feeds.settings import FeedSettings, FeedsSettings
from collector.feeds.warninglists import (
    LIST_BYTES_MAX,
    WarningList,
    WarningLists,
    read_warninglist,
)

FILES_MAX: Final = 1000
_GZIP_WINDOW: Final = 31


def read_feeds(settings: FeedsSettings) -> tuple[FeedInput, ...]:
    """Return every feed with the bytes of its files; one that cannot be read carries its error."""
    return tuple(_read_feed(settings, feed) for feed in settings.sources)


def read_warninglists(settings: FeedsSettings) -> WarningLists:
    """Return the warninglists in ``<name>/list.json`` below their directory, by name.

    Raises:
        WarningListUnusable: the directory or a list cannot be used.
    """
    if not settings.warninglists:
        return WarningLists([])
    directory = Path(settings.warninglists)
    if not directory.is_dir():
        raise WarningListUnusable(
            f"there are no warninglists at {directory}", hint="set feeds.warninglists"
        )
    return WarningLists([_read_list(path) for path in sorted(directory.glob("*/list.json"))])


def _read_feed(settings: FeedsSettings, feed: FeedSettings) -> FeedInput:
    try:
        files = [
            _read_file(feed, Path(settings.lists), name, settings.file_size_bytes_max)
            for name in _names(settings, feed)
        ]
    except FeedUnusable as error:
        return FeedInput(feed, (), str(error))
    return FeedInput(feed, tuple(files))


def _names(settings: FeedsSettings, feed: FeedSettings) -> list[str]:
    names = sorted(glob.glob(feed.path, root_dir=settings.lists))  # noqa: PTH207  (relative names)
    if not names:
        raise FeedUnusable(f"feed {feed.name}: there is no {feed.path} in {settings.lists}")
    if len(names) > FILES_MAX:
        raise FeedUnusable(f"feed {feed.name}: more than {FILES_MAX} files")
    return names


def _read_file(feed: FeedSettings, base: Path, name: str, size_max: int) -> FeedFile:
    path = base / name
    try:
        with path.open("rb") as file:
            data = file.read(size_max + 1)
        seen_at = path.stat().st_mtime_ns
    except OSError as error:
        raise FeedUnusable(f"feed {feed.name}: cannot read {path}: {error.strerror}") from error
    if len(data) <= size_max and name.endswith(".gz"):
        data = _unpacked(feed, path, data, size_max)
    if len(data) > size_max:
        raise FeedUnusable(f"feed {feed.name}: {path} is larger than {size_max} bytes")
    return FeedFile(name, data, seen_at)


def _unpacked(feed: FeedSettings, path: Path, data: bytes, size_max: int) -> bytes:
    """Unpack at most one byte more than is allowed."""
    whole = bytearray()
    try:
        while data and len(whole) <= size_max:
            unpacker = zlib.decompressobj(_GZIP_WINDOW)
            whole += unpacker.decompress(data, size_max + 1 - len(whole))
            if not unpacker.eof and len(whole) <= size_max:
                raise FeedUnusable(f"feed {feed.name}: {path} is cut short")
            data = unpacker.unused_data
    except zlib.error as error:
        raise FeedUnusable(f"feed {feed.name}: {path} is not gzip: {error}") from error
    return bytes(whole)


def _read_list(path: Path) -> WarningList:
    try:
        with path.open("rb") as file:
            data = file.read(LIST_BYTES_MAX + 1)
    except OSError as error:
        raise WarningListUnusable(f"cannot read {path}: {error.strerror}") from error
    try:
        return read_warninglist(data)
    except WarningListUnusable as error:
        raise WarningListUnusable(f"{path}: {error.message}") from error
