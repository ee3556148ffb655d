"""Processes that wait for the digest of their image, in the order they were seen.

Holding an image holds a descriptor, so few are held; a process beyond that number is told at once
and says that its image was not hashed.
"""

from collections import deque
from typing import Final

from msgspec import UNSET, Struct, structs

from agent.sense.sensors.family import CAVEATS_MAX
from agent.sense.sensors.identity import Sight
from agent.sense.sensors.imagehash import Hashed, ImageHashes
from agent.sense.sensors.images import Image
from proto.model import ObservationKind, Precision, Process

QUEUE_FULL: Final = "image not hashed: too many at once"


class Seen(Struct, frozen=True):
    """A process, what happened to it and when (nanoseconds UTC)."""

    kind: ObservationKind
    process: Process
    ancestry: tuple[Process, ...]
    event_time: int
    precision: Precision
    image: Image | None = None


class HashQueue:
    """A queue whose head is hashed.

    Args:
        hashes: does the work and remembers.
        images_max: how many images are held open.
    """

    def __init__(self, hashes: ImageHashes, images_max: int) -> None:
        self._hashes = hashes
        self._images_max = images_max
        self._waiting: deque[Seen] = deque()
        self._held = 0
        self._skipped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def claim(self, sight: Sight) -> Sight:
        """Return the sight with its digest if that is known, else with its image or a caveat.

        Either way an image that is not needed is closed.
        """
        image = sight.image
        if image is None:
            return sight
        digest = self._hashes.known(image.key)
        if digest is None and self._held < self._images_max:
            self._held += 1
            return sight
        image.close()
        if digest is not None:
            return Sight(structs.replace(sight.process, sha256=digest))
        self._skipped += 1
        return Sight(_with_digest(sight.process, Hashed(UNSET, QUEUE_FULL)))

    def push(self, seen: Seen) -> None:
        """Put a claimed process at the end."""
        self._waiting.append(seen)

    def ready(self) -> Seen | None:
        """Return the first of the queue if it waits for no digest."""
        if self._waiting and self._waiting[0].image is None:
            return self._waiting.popleft()
        return None

    def step(self) -> Seen | None:
        """Hash a slice of the first image; return its process when that was the last one."""
        head = self._waiting[0] if self._waiting else None
        if head is None or head.image is None:
            return self.ready()
        hashed = self._hashes.advance(head.image)
        if hashed is None:
            return None
        self._waiting.popleft()
        head.image.close()
        self._held -= 1
        return structs.replace(head, process=_with_digest(head.process, hashed), image=None)

    def take_skipped(self) -> int:
        """Return how many images were not hashed for want of room since this was asked last."""
        skipped, self._skipped = self._skipped, 0
        return skipped

    def clear(self) -> None:
        """Close every image and forget the processes."""
        self._hashes.abandon()
        for seen in self._waiting:
            if seen.image is not None:
                seen.image.close()
        self._waiting.clear()
        self._held = 0


def _with_digest(process: Process, hashed: Hashed) -> Process:
    caveats = (*process.caveats, hashed.caveat) if hashed.caveat else process.caveats
    return structs.replace(process, sha256=hashed.sha256, caveats=caveats[-CAVEATS_MAX:])
