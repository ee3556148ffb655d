"""A host's disk on which some paths fail."""

import os

from agent.beneath import Resolver, WalkResolver


class FailingDisk:
    """Resolves as a sound disk does, but for paths that were told to fail."""

    def __init__(self) -> None:
        self._failing: dict[bytes, tuple[int, int]] = {}
        self._sound: Resolver = WalkResolver()

    def fail(self, path: bytes, code: int, *, after: int = 0) -> None:
        """Let a path fail with an errno once it has been opened ``after`` times more."""
        self._failing[path] = (code, after)

    def mend(self) -> None:
        self._failing.clear()

    def open(self, root_fd: int, path: bytes, flags: int) -> int:
        code, left = self._failing.get(path, (0, 1))
        if left == 0:
            raise OSError(code, os.strerror(code))
        if path in self._failing:
            self._failing[path] = (code, left - 1)
        return self._sound.open(root_fd, path, flags)
