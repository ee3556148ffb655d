"""Processes that wait for the digests of their files, told in the order they were seen.

Holding a file holds a descriptor and keeps its file system from being unmounted, so few are held
and none for longer than a second, unless a process that runs it does the same anyway. Executions of
one file that have all happened before it is read share one reading: the digest says what the file
held when it was read.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import UNSET, Struct, UnsetType, structs

from agent.sense.sensors.family import CAVEATS_MAX
from agent.sense.sensors.imagehash import CHANGED, REMOTE, ImageHashes
from agent.sense.sensors.images import Image, ImageKey
from proto.model import ObservationKind, Precision, Process
from runtime.clock import NS_PER_S, Clock

HELD_S_MAX: Final = 1

QUEUE_FULL: Final = "image not hashed: too many at once"
OVER_BUDGET: Final = "image not hashed: over budget"
TOO_SLOW: Final = "image not hashed: not read within a second"
RACY: Final = "racy"
SCRIPT_UNHASHED: Final = "script unhashed"

# Whether a process still runs a file, so that our holding it changes nothing.
Runs = Callable[[int, Image], bool]


class Shot(Struct):
    """A file that is hashed, or was; ``changed`` is its ctime when that was done."""

    changed: int = 0
    sha256: bytes | UnsetType = UNSET
    caveat: str = ""
    image: Image | None = None
    since: int = 0
    pid: int = 0

    @property
    def is_done(self) -> bool:
        """Whether no more will be known of it."""
        return self.image is None


class Seen(Struct):
    """A process, what happened to it and when (nanoseconds UTC), and what is still waited for.

    ``waits_until`` is the boot-clock time up to which another source may tell more; 0 for never.
    """

    kind: ObservationKind
    process: Process
    ancestry: tuple[Process, ...]
    event_time: int
    precision: Precision
    shot: Shot | None = None
    script: Shot | None = None
    waits_until: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether both files have been hashed."""
        image, script = self.shot, self.script
        return (image is None or image.image is None) and (script is None or script.image is None)

    def finish(self) -> None:
        """Write into the process what is known of its files."""
        if self.shot is not None:
            self.process = with_digest(self.process, self.shot, self.event_time)
            self.shot = None
        if self.script is not None:
            self.process = _with_script(self.process, self.script)
            self.script = None


class HashQueue:
    """A queue whose files are hashed, oldest first.

    Args:
        hashes: does the work and remembers.
        images_max: how many files are held open.
        clock: tells how long.
        runs: whether a process still runs a file.
    """

    def __init__(self, hashes: ImageHashes, images_max: int, clock: Clock, runs: Runs) -> None:
        self._hashes = hashes
        self._images_max = images_max
        self._clock = clock
        self._runs = runs
        self._waiting: deque[Seen] = deque()
        self._shots: deque[Shot] = deque()
        self._shared: dict[ImageKey, Shot] = {}
        self._skipped = 0
        # Whether what is not known is hashed; what is known is told all the same.
        self.hashes_new = True

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def room(self) -> int:
        """How many more files may be held."""
        return self._images_max - len(self._shots)

    @property
    def is_hashing(self) -> bool:
        """Whether `step` has work to do."""
        return bool(self._shots)

    def submit(self, image: Image, pid: int) -> Shot:
        """Take over a file to be hashed; it is closed when that is done, or at once.

        Args:
            image: the file.
            pid: the process that runs it, or is about to.
        """
        if image.is_remote:
            # Who serves it says what its stamps are, be it those of a file that is known.
            image.close()
            return Shot(changed=image.facts.changed, caveat=REMOTE)
        key = image.key
        digest = self._hashes.known(key)
        if digest is not None:
            image.close()
            return Shot(changed=image.facts.changed, sha256=digest)
        if (shot := self._shared.get(key)) is not None:
            image.close()
            shot.pid = pid
            return shot
        if self.room <= 0 or not self.hashes_new:
            image.close()
            self._skipped += self.hashes_new
            return Shot(caveat=QUEUE_FULL if self.hashes_new else OVER_BUDGET)
        shot = Shot(image.facts.changed, UNSET, "", image, self._clock.boot_ns(), pid)
        self._shots.append(shot)
        self._shared[key] = shot
        return shot

    def push(self, seen: Seen) -> None:
        """Put a process at the end."""
        if seen.is_whole:
            seen.finish()
        self._waiting.append(seen)

    def ready(self) -> Seen | None:
        """Return the first of the queue if it waits for nothing."""
        head = self._waiting[0] if self._waiting else None
        if head is None or not head.is_whole or head.waits_until > self._clock.boot_ns():
            return None
        self._waiting.popleft()
        head.finish()
        return head

    def waits_until(self) -> int:
        """Return until when the first of the queue waits for another source; 0 if not for that."""
        head = self._waiting[0] if self._waiting else None
        return head.waits_until if head is not None and head.is_whole else 0

    def step(self) -> None:
        """Hash a slice of the oldest file."""
        if not self._shots:
            return
        shot = self._shots[0]
        image = shot.image
        if image is None:
            self._shots.popleft()
            return
        self._shared.pop(image.key, None)  # from here on it would be an older reading
        if self._is_held_too_long(shot, image):
            self._hashes.abandon()
            shot.caveat = TOO_SLOW
            self._skipped += 1
        else:
            hashed = self._hashes.advance(image)
            if hashed is None:
                return
            shot.sha256, shot.caveat = hashed.sha256, hashed.caveat
        shot.image = None
        image.close()
        self._shots.popleft()

    def take_skipped(self) -> int:
        """Return how many files were not hashed for want of room or time since this was asked."""
        skipped, self._skipped = self._skipped, 0
        return skipped

    def clear(self) -> None:
        """Close every file and forget the processes."""
        self._hashes.abandon()
        for shot in self._shots:
            if shot.image is not None:
                shot.image.close()
                shot.image = None
        self._shots.clear()
        self._shared.clear()
        self._waiting.clear()

    def _is_held_too_long(self, shot: Shot, image: Image) -> bool:
        now = self._clock.boot_ns()
        if now - shot.since <= HELD_S_MAX * NS_PER_S:
            return False
        if not self._runs(shot.pid, image):
            return True
        shot.since = now
        return False


def with_digest(process: Process, shot: Shot, event_time: int) -> Process:
    """Return the process with what is known of its image.

    Args:
        process: without a digest.
        shot: done.
        event_time: a file that changed later may not be what was executed.
    """
    caveats = (*process.caveats, shot.caveat) if shot.caveat else process.caveats
    if shot.sha256 is not UNSET and shot.changed > event_time and shot.caveat != CHANGED:
        caveats = (*caveats, CHANGED)
    return structs.replace(process, sha256=shot.sha256, caveats=caveats[-CAVEATS_MAX:])


def _with_script(process: Process, shot: Shot) -> Process:
    """Return the process with what is known of its script, which its interpreter reads later."""
    caveat = RACY if shot.sha256 is not UNSET else SCRIPT_UNHASHED
    caveats = (*process.caveats, caveat)[-CAVEATS_MAX:]
    return structs.replace(process, script_sha256=shot.sha256, caveats=caveats)
