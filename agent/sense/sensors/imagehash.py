"""SHA-256 of executables, a slice at a time, and remembered while the file stays the same.

A file younger than two seconds is hashed and not remembered: it could change again within one tick
of its file system's clock and look the same.
"""

import os
import stat
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from agent.hostroot import reopened
from agent.sense.sensors.images import Image, ImageKey, key_of
from agent.syscalls import facts_of
from certs.digests import Sha256
from runtime.clock import NS_PER_S, Clock

SLICE_BYTES: Final = 1 << 18
YOUNG_S: Final = 2

NOT_REGULAR: Final = "image is not a regular file"
REMOTE: Final = "image not hashed: remote file system"
TOO_LARGE: Final = "image not hashed: larger than the limit"
UNREADABLE: Final = "image not hashed: cannot be read"
CHANGED: Final = "changed"  # since the event, or while it was read


class Hashed(Struct, frozen=True):
    """The digest of an image, or why there is none; ``caveat`` may stand beside a digest."""

    sha256: bytes | UnsetType
    caveat: str = ""


class ImageHashes:
    """Hashes one image at a time.

    Args:
        clock: tells how old a file is.
        size_bytes_max: larger images are not hashed.
        entries_max: how many digests are remembered, oldest out first.
    """

    def __init__(self, clock: Clock, *, size_bytes_max: int, entries_max: int) -> None:
        self._clock = clock
        self._size_bytes_max = size_bytes_max
        self._entries_max = entries_max
        self._known: dict[ImageKey, bytes] = {}
        self._slice = memoryview(bytearray(SLICE_BYTES))
        self._job: _Job | None = None

    def known(self, key: ImageKey) -> bytes | None:
        """Return the digest of a file that has not changed since it was hashed."""
        return self._known.get(key)

    def advance(self, image: Image) -> Hashed | None:
        """Hash at most one slice; None while the image is not done.

        The caller comes back with the same image until it is.
        """
        if self._job is None or self._job.image is not image:
            self.abandon()
            if refusal := self._refusal(image):
                return Hashed(UNSET, refusal)
            if (digest := self._known.get(image.key)) is not None:
                return Hashed(digest)
            try:
                self._job = _Job(image)
            except OSError:
                return Hashed(UNSET, UNREADABLE)
        try:
            digest = self._job.step(self._slice, self._size_bytes_max)
        except OSError:
            self.abandon()
            return Hashed(UNSET, UNREADABLE)
        if digest is None:
            return None
        return self._finished(image, self._job, digest)

    def abandon(self) -> None:
        """Give up the image that is being hashed; harmless when there is none."""
        if self._job is not None:
            self._job.close()
            self._job = None

    def _refusal(self, image: Image) -> str:
        if not stat.S_ISREG(image.facts.mode):
            return NOT_REGULAR
        if image.is_remote:
            return REMOTE
        return TOO_LARGE if image.facts.size > self._size_bytes_max else ""

    def _finished(self, image: Image, job: "_Job", digest: bytes) -> Hashed:
        try:
            unchanged = key_of(facts_of(job.fd)) == image.key
        except OSError:
            unchanged = False
        self.abandon()
        if not digest:
            return Hashed(UNSET, TOO_LARGE)
        if not unchanged:
            return Hashed(digest, CHANGED)
        # Not by the time of modification, which anybody may set.
        if self._clock.wall_ns() - image.facts.changed >= YOUNG_S * NS_PER_S:
            self._remember(image.key, digest)
        return Hashed(digest)

    def _remember(self, key: ImageKey, digest: bytes) -> None:
        if len(self._known) >= self._entries_max:
            self._known.pop(next(iter(self._known)))
        self._known[key] = digest


class _Job:
    """One image being hashed."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.fd = image.fd if image.is_readable else reopened(image.fd)
        self._sum = Sha256()
        self._read = 0

    def step(self, buffer: memoryview, size_bytes_max: int) -> bytes | None:
        """Hash a slice; return the digest at the end, or nothing for a file that outgrew us."""
        size = os.preadv(self.fd, [buffer], self._read)
        self._sum.update(buffer[:size])
        self._read += size
        if self._read > size_bytes_max:
            return b""
        return None if size else self._sum.digest()

    def close(self) -> None:
        if self.fd != self.image.fd:
            os.close(self.fd)
