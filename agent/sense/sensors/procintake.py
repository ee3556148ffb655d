"""From an event, or a find of a pass, to a process with its ancestors, queued for its digest."""

from collections.abc import Iterable
from typing import Final

from agent.sense.sensors.family import Family
from agent.sense.sensors.hashqueue import HashQueue, Seen
from agent.sense.sensors.identity import Birth, ProcessReader, Sight
from agent.sense.sensors.losses import Losses
from agent.sense.sensors.procevents import Event, Exec, Exit, Fork, Lost
from agent.sense.sensors.procfs import NS_PER_TICK
from proto.model import ObservationKind, Precision
from runtime.clock import Clock

WAITING_MAX: Final = 4096

EVENTS_LOST: Final = "the kernel had no room for process events"
EXECS_DROPPED: Final = "execs beyond the queue"


class ProcessIntake:
    """Takes events while their processes are still there."""

    def __init__(
        self, reader: ProcessReader, family: Family, queue: HashQueue, losses: Losses
    ) -> None:
        self._reader = reader
        self._family = family
        self._queue = queue
        self._losses = losses

    def take(self, events: Iterable[Event], clock: Clock) -> bool:
        """Take events in order; return whether some before them were lost."""
        monotonic = clock.monotonic_ns()
        to_boot = clock.boot_ns() - monotonic
        to_wall = clock.wall_ns() - monotonic
        lost = False
        for event in events:
            match event:
                case Fork():
                    start = (event.at + to_boot) // NS_PER_TICK * NS_PER_TICK
                    self._family.born(event.pid, Birth(ppid=event.ppid, start=start))
                case Exec():
                    self._exec(event.pid, event.at + to_boot, event.at + to_wall)
                case Exit():
                    self._exit(event.pid, event.at + to_wall)
                case Lost():
                    self._losses.gap(EVENTS_LOST)
                    lost = True
                case _:
                    pass  # an answer to somebody's request
        return lost

    def find(self, sight: Sight, at: int, *, verify: bool) -> None:
        """Take what a pass over /proc found.

        Args:
            sight: the process.
            at: when it was seen, in nanoseconds UTC.
            verify: no events tell of forks, so that a known parent may have gone unseen.
        """
        self._push(ObservationKind.PROCESS_SEEN, sight, at, verify=verify)

    def _exec(self, pid: int, boot: int, at: int) -> None:
        birth = self._family.birth(pid)
        sight = self._reader.read(pid, with_image=True, birth=birth, before=boot)
        if sight is None:
            sight = Sight(self._reader.unread(pid, birth, boot))
        self._push(ObservationKind.PROCESS_EXEC, sight, at, verify=False)

    def _exit(self, pid: int, at: int) -> None:
        process = self._family.get(pid)
        if process is not None:
            self._push(ObservationKind.PROCESS_EXIT, Sight(process), at, verify=False)

    def _push(self, kind: ObservationKind, sight: Sight, at: int, *, verify: bool) -> None:
        if len(self._queue) >= WAITING_MAX:
            self._losses.overflow(EXECS_DROPPED, 1)
            if sight.image is not None:
                sight.image.close()
            return
        sight = self._queue.claim(sight)
        ancestry = self._family.ancestry(sight.process, self._reader, verify=verify)
        self._family.remember(sight.process)
        self._queue.push(
            Seen(
                kind=kind,
                process=sight.process,
                ancestry=ancestry,
                event_time=at,
                precision=(
                    Precision.POLL if kind is ObservationKind.PROCESS_SEEN else Precision.EXACT
                ),
                image=sight.image,
            )
        )
