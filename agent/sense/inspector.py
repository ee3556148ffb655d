"""Asks workers to read what strangers wrote, from the one-thread loop: nothing here ever waits.

A sensor has an `Inspector` of its own. It costs nothing until the first request, starts one worker
then, and ends it when it has had nothing to do for a while::

    ticket = inspector.submit(Gunzip(offset=done), fd)  # the descriptor stays the caller's to close
    for found in inspector.poll(): ...  # found.ticket, found.answer: Data, Done, InspectionFailed

Add `descriptors` and `due` to the sensor's own and call `poll` when either says so. `Data` comes in
order and without holes; each ticket ends in one `Done` or `InspectionFailed`. Who has enough for
now leaves both out and asks again later: the worker rests meanwhile, on no one's time.

A worker that is late, talks nonsense or ends is killed, its request fails, and the next request
starts a new one. Without a filter of system calls in the kernel inspection is off: `off_reason`.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from agent.errors import FailReason, InspectionFailed
from agent.inspectframes import (
    CHUNK_BYTES,
    INSPECT_VERSION,
    Answer,
    Data,
    Done,
    Failed,
    Ready,
    Request,
)
from agent.sense.inspectline import WorkerLine
from runtime.clock import NS_PER_MS, NS_PER_S, Clock

QUEUE_MAX: Final = 16
RESULTS_MAX: Final = 8  # of `CHUNK_BYTES` each
IDLE_S_MAX: Final = 20
START_S_MAX: Final = 30
_REAP_NS: Final = 100 * NS_PER_MS

Start = Callable[[], WorkerLine]


class Ticket(Struct, frozen=True):
    """Names one request."""

    number: int


class Found(Struct, frozen=True):
    """A piece of an answer, or its end."""

    ticket: Ticket
    answer: Data | Done | InspectionFailed


class _Job(Struct):
    """A request with its file; ``offset`` and ``left`` are of the data still to come."""

    ticket: Ticket
    request: Request
    descriptor: int
    offset: int
    left: int


class Inspector:
    """See the module.

    Args:
        clock: measures deadlines.
        start: reaches a worker.
    """

    def __init__(self, clock: Clock, start: Start = WorkerLine) -> None:
        self._clock = clock
        self._start = start
        self._line: WorkerLine | None = None
        self._ending: list[WorkerLine] = []
        self._is_ready = False
        self._deadline = 0
        self._waiting: deque[_Job] = deque()
        self._asked: _Job | None = None
        self._count = 0
        self.off_reason = ""

    def submit(self, request: Request, descriptor: int) -> Ticket:
        """Ask for an open file to be read; it is duplicated, so the caller may close its own.

        Raises:
            InspectionFailed: inspection is off, or too much waits already.
        """
        if self.off_reason:
            raise InspectionFailed(self.off_reason, FailReason.OFF)
        if len(self._waiting) >= QUEUE_MAX:
            raise InspectionFailed("too many files wait to be inspected", FailReason.BUSY)
        try:
            held = os.dup(descriptor)
        except OSError as error:
            raise InspectionFailed(error.strerror or "no file", FailReason.UNREADABLE) from error
        self._count += 1
        ticket = Ticket(self._count)
        self._waiting.append(_Job(ticket, request, held, request.offset, request.size_bytes_max))
        return ticket

    def descriptors(self) -> Sequence[int]:
        """Return what to watch for reading."""
        return () if self._line is None else (self._line.fileno(),)

    def due(self) -> int | None:
        """Return the boot-clock nanoseconds at which `poll` is wanted; None to wait for data."""
        now = self._clock.boot_ns()
        if self._ending:
            return now + _REAP_NS
        is_free = self._line is None or (self._is_ready and self._asked is None)
        if self._waiting and is_free:
            return now
        return None if self._line is None else self._deadline

    def poll(self, results_max: int = RESULTS_MAX) -> list[Found]:
        """Return what has been found since; begin and end what is to be."""
        found: list[Found] = []
        self._ending = [line for line in self._ending if not line.has_ended()]
        while len(found) < results_max:
            try:
                if not self._go_on() or self._line is None:
                    break
                answer = self._line.hear()
                if answer is None:
                    self._check_time()
                    break
                self._take(answer, found)
            except InspectionFailed as error:
                self._give_up(error, found)
        return found

    def cancel(self, ticket: Ticket) -> None:
        """Forget a request; nothing more is told of it. One that is worked on ends its worker."""
        if self._asked is not None and self._asked.ticket == ticket:
            self._hang_up()
        for job in [job for job in self._waiting if job.ticket == ticket]:
            self._waiting.remove(job)
            os.close(job.descriptor)

    def stop(self) -> None:
        """End the worker and forget every request; harmless when repeated."""
        self._hang_up()
        while self._waiting:
            os.close(self._waiting.popleft().descriptor)

    def has_ended(self) -> bool:
        """Tell whether no worker of ours is left, not even one that was just killed."""
        self._ending = [line for line in self._ending if not line.has_ended()]
        return self._line is None and not self._ending

    def _go_on(self) -> bool:
        """Begin what can be begun; tell whether a worker is there to be heard.

        Raises:
            InspectionFailed: there is no worker, or it takes nothing.
        """
        if self._line is None:
            if not self._waiting:
                return False
            self._deadline = self._clock.boot_ns() + START_S_MAX * NS_PER_S
            self._line = self._start()
        if self._is_ready and self._asked is None and self._waiting:
            self._asked = job = self._waiting.popleft()
            self._wait(job)
            try:
                self._line.ask(job.request, job.descriptor)
            finally:
                os.close(job.descriptor)
        return True

    def _take(self, answer: Answer, found: list[Found]) -> None:
        """Take one answer of a worker, if it is one that may come now.

        Raises:
            InspectionFailed: it is not, or it is why the request fails.
        """
        job = self._asked
        if isinstance(answer, Ready) and not self._is_ready:
            if answer.version != INSPECT_VERSION:
                raise InspectionFailed("the worker is of another version", FailReason.GARBAGE)
            self._is_ready = True
            self._idle()
        elif isinstance(answer, Failed) and answer.reason is FailReason.OFF and not self._is_ready:
            self.off_reason = f"inspection is off: {_why(answer).message}"
            raise InspectionFailed(self.off_reason, FailReason.OFF)
        elif job is None or isinstance(answer, Ready):
            raise InspectionFailed("the worker speaks out of turn", FailReason.GARBAGE)
        elif isinstance(answer, Data):
            found.append(Found(job.ticket, _checked(job, answer)))
            self._wait(job)
        else:
            last = _why(answer) if isinstance(answer, Failed) else answer
            found.append(Found(job.ticket, last))
            self._asked = None
            self._idle()

    def _check_time(self) -> None:
        """Look whether the worker is late, or has been idle for long enough.

        Raises:
            InspectionFailed: it is late.
        """
        if self._clock.boot_ns() < self._deadline:
            return
        if self._asked is not None:
            raise InspectionFailed("the worker took too long and was ended", FailReason.DEADLINE)
        if not self._is_ready:
            raise InspectionFailed("the worker did not start in time", FailReason.DEADLINE)
        self._hang_up()

    def _give_up(self, error: InspectionFailed, found: list[Found]) -> None:
        """End the worker and fail what it worked on; one that never began fails all that waits."""
        if self._asked is not None:
            found.append(Found(self._asked.ticket, error))
        elif not self._is_ready:
            while self._waiting:
                job = self._waiting.popleft()
                found.append(Found(job.ticket, error))
                os.close(job.descriptor)
        self._hang_up()

    def _wait(self, job: _Job) -> None:
        self._deadline = self._clock.boot_ns() + job.request.deadline_ms * NS_PER_MS

    def _idle(self) -> None:
        self._deadline = self._clock.boot_ns() + IDLE_S_MAX * NS_PER_S

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.end()
            self._ending.append(self._line)
            self._line = None
        self._asked = None
        self._is_ready = False


def _why(failed: Failed) -> InspectionFailed:
    # The worker's words may be those of what it read.
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in failed.message)
    return InspectionFailed(text, failed.reason)


def _checked(job: _Job, data: Data) -> Data:
    """Return a piece that is the next one and no longer than was asked for.

    Raises:
        InspectionFailed: it is another, or more; or it follows one that was not full.
    """
    is_next = data.offset == job.offset and len(data.data) <= job.left
    if not is_next or job.left <= 0:
        raise InspectionFailed("the worker answers something else", FailReason.GARBAGE)
    job.offset += len(data.data)
    # Only the last piece may be short: a drip would keep us for ever.
    job.left = job.left - CHUNK_BYTES if len(data.data) == CHUNK_BYTES else 0
    return data
