"""What reading a file gives: digests of all of it in slices, or the reason why there are none."""

import hashlib
import os
from collections.abc import Generator
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from agent.hostroot import READ_FLAGS, HostFileError, HostFileMissing, HostFileNotRegular, HostRoot
from agent.sense.sensors.filerows import YOUNG_NS, row_of, type_caveat
from certs.digests import Sha256
from runtime.clock import Clock

SLICE_BYTES: Final = 256 * 1024

CHANGED: Final = "changed"
UNREADABLE: Final = "unreadable"
TOO_LARGE: Final = "too large to hash"
EASED: Final = "not hashed: over budget"


class Content(Struct, frozen=True):
    """What reading a file gave.

    ``sha256`` None: nothing to hash, UNSET: not hashed; ``md5`` is empty where it was not asked
    for. ``unsure`` asks for another look.
    """

    seen: os.stat_result
    sha256: bytes | UnsetType | None
    caveats: tuple[str, ...] = ()
    unsure: bool = False
    md5: bytes = b""


class ContentReader:
    """Reads files, a slice a step.

    Args:
        host: the only way to them.
        clock: tells how young a file is.
        hash_bytes_max: of the largest file to hash.
    """

    def __init__(self, host: HostRoot, clock: Clock, hash_bytes_max: int) -> None:
        self._host = host
        self._clock = clock
        self._hash_bytes_max = hash_bytes_max
        # Whether what is new is hashed; what was not is looked at again by the next sweep.
        self.is_hashing = True

    def read(
        self, path: bytes, seen: os.stat_result, *, with_md5: bool
    ) -> Generator[None, None, Content | None]:
        """Read and hash what is there; None where it went meanwhile.

        Args:
            path: what `seen` was seen at.
            seen: without following a link.
            with_md5: give the digest that package databases hold, too.
        """
        if kind := type_caveat(seen.st_mode):
            return Content(seen, None, (kind,))
        if seen.st_size > self._hash_bytes_max:
            return Content(seen, UNSET, (TOO_LARGE,))
        if not self.is_hashing:
            return Content(seen, UNSET, (EASED,), unsure=True)
        try:
            fd = self._host.open(path, READ_FLAGS | os.O_NOFOLLOW)
        except (HostFileMissing, HostFileNotRegular):
            # Gone, or a link or a device now: whatever it is, the next look will see it.
            return None if self._is_gone(path) else Content(seen, UNSET, (CHANGED,), unsure=True)
        except HostFileError:
            return Content(seen, UNSET, (UNREADABLE,))
        try:
            return (yield from self._hash(fd, with_md5=with_md5))
        except OSError:
            return Content(seen, UNSET, (UNREADABLE,))
        finally:
            os.close(fd)

    def _is_gone(self, path: bytes) -> bool:
        try:
            self._host.stat(path, follow=False)
        except HostFileMissing:
            return True
        except HostFileError:
            pass
        return False

    def _hash(self, fd: int, *, with_md5: bool) -> Generator[None, None, Content]:
        """Hash an open file in slices; what moved under our hands is not given a hash."""
        began = os.fstat(fd)
        unsure = abs(self._clock.wall_ns() - began.st_ctime_ns) < YOUNG_NS
        sha256 = Sha256()
        md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None
        left = self._hash_bytes_max
        # No more is asked for than there is, and one: large buffers for small files are dear.
        asked = min(SLICE_BYTES, left, began.st_size + 1)
        while left > 0 and (data := os.read(fd, asked)):
            sha256.update(data)
            if md5 is not None:
                md5.update(data)
            left -= len(data)
            if len(data) < asked:
                break
            asked = min(SLICE_BYTES, left)
            yield
        ended = os.fstat(fd)
        if not row_of(began, b"", unsure=False).is_as(ended):
            return Content(ended, UNSET, (CHANGED,), unsure=True)
        return Content(
            ended, sha256.digest(), unsure=unsure, md5=md5.digest() if md5 is not None else b""
        )
