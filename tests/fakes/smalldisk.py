"""A real file system of a few megabytes, for tests of what happens when it is full."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_CHUNK = bytes(4096)


class SmallDisk:
    """Where it is mounted, and something that takes its space."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self, free_kib: int = 0) -> None:
        """Leave so much free, and no more."""
        told = os.statvfs(self.path)
        size = max(0, told.f_bavail * told.f_frsize - free_kib * 1024)
        with self._ballast.open("ab", buffering=0) as file:
            try:
                for _ in range(size // len(_CHUNK)):
                    file.write(_CHUNK)
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017  (any other is a failure)

    def release(self) -> None:
        """Give everything back."""
        self._ballast.unlink()

    def remount(self, options: str) -> None:
        """Change how it is mounted, such as ``ro``."""
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)


@contextlib.contextmanager
def mounted(path: Path, size_mib: int) -> Iterator[SmallDisk]:
    """Mount a file system while the block lasts; skips where that is not permitted."""
    path.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a file system: {done.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)
