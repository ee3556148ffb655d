"""Small hosts to look at, and what a reader finds there."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.persist.items import Found
from agent.sense.sensors.persist.look import Content, Look
from proto.model import Persistence

NOW = 1_900_000_000_000_000_000


def put(root: Path, path: str, data: str | bytes = "", mode: int = 0o644) -> Path:
    """Write a file of the host, with the directories above it."""
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data.encode() if isinstance(data, str) else data)
    place.chmod(mode)
    return place


def a_look(root: Path, *, remote: tuple[str, ...] = (), now: int = NOW) -> Look:
    return Look(HostRoot(root), remote, now)


def found_by(
    reader: Callable[[Look], Iterator[Found | None]], root: Path, look: Look | None = None
) -> list[Persistence]:
    """Return all that a reader finds."""
    return [one.item for one in reader(look or a_look(root)) if one is not None]


def said(items: list[Persistence]) -> list[tuple[str, str, object]]:
    """Return mechanism, name and value of each."""
    return [(item.mechanism, item.name, item.value) for item in items]


def a_content(data: bytes, path: str = "/etc/x", *, is_whole: bool = True) -> Content:
    return Content(path, data, Path("/").stat(), is_whole=is_whole)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Read with the rights of nobody."""
    if os.geteuid() != 0:
        pytest.skip("only root can lay its rights down for a while")
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)
