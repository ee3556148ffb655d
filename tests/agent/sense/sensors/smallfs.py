"""File systems of a test's own: nobody else's changes are heard of there."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def mounted(kind: str, where: Path, options: str = "size=64m") -> None:
    """Mount a file system, or skip with the reason."""
    where.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", kind, "-o", options, kind, str(where)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"no mount here: {error}")
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.decode()}")


def unmounted(where: Path) -> None:
    """Unmount it; something that still holds it is a failure."""
    subprocess.run(["umount", str(where)], check=True)


@contextmanager
def an_own_file_system(where: Path, options: str = "size=64m") -> Iterator[Path]:
    """Yield an empty one that is gone afterwards."""
    mounted("tmpfs", where, options)
    try:
        yield where
    finally:
        unmounted(where)
