"""The posture sensor: every question put once a pass, every check judged from the answers.

What it sees: files, kernel settings, mounts, accounts and installed components, by the probes of
`agent.sense.posture.probing`. Cost: about 10 ms of CPU a pass for the checks we ship. A pass is cut
into slices that end with the deadline given to `poll`, between two questions; a question that takes
longer than its own deadline is answered with unknown.
"""

from collections import deque
from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.sense.ports import POLL_SIGHTINGS_MAX, SensorHealth, SensorSpec
from agent.sense.posture.judge import Reading, Verdict, judge
from agent.sense.posture.probing import ask, questions
from agent.sense.posture.reader import HostFiles, HostReader
from agent.sense.posture.statements import (
    Moment,
    Said,
    Subject,
    after,
    dump_memory,
    finding_of,
    is_due,
    load_memory,
)
from proto.content.checks import CheckPack, CheckSpec, Request
from proto.model import CheckState, Evidence, Finding, HealthState
from runtime.clock import NS_PER_S, Clock

SPEC: Final = SensorSpec(
    name="posture",
    source="files of the host, /proc/sys, /proc/1/mountinfo, /proc/PID/comm",
    coverage="each check of the pack: pass, fail, unknown or not applicable, with evidence",
    misses="changes undone between two passes; what no file shows",
    privilege="root, or CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE; else some checks are unknown",
    cost="about 10 ms of CPU a pass, a pass an hour",
)


class PostureSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How often to look."""

    # Time between two passes: how long a change can go unseen.
    pass_interval_s: Annotated[int, Meta(ge=10, le=86_400)] = 3600


class _Statement(Struct, frozen=True):
    """A finding to give out, and what to remember once it was given."""

    check: str
    finding: Finding
    said: Said


class PostureSensor:
    """Judges the host again and again; says what changed, and everything in time.

    Args:
        host: the tree to look at.
        clock: what time it is.
        subject: whose posture it is.
        pack: the checks.
        settings: how often to look.
    """

    spec = SPEC

    def __init__(
        self,
        host: HostFiles,
        clock: Clock,
        subject: Subject,
        pack: CheckPack,
        settings: PostureSettings | None = None,
    ) -> None:
        self._clock = clock
        self._subject = subject
        self._checks = pack.checks
        self._interval = (settings or PostureSettings()).pass_interval_s * NS_PER_S
        self._reader = HostReader(host, clock)
        self._next: int | None = None
        self._questions: deque[Request] = deque()
        self._answers: dict[Request, tuple[Evidence, Reading]] = {}
        self._out: deque[Evidence | _Statement] = deque()
        self._memory: dict[str, Said] = {}
        self._last_success = 0
        self._seen = 0
        self._unknown: tuple[str, ...] | None = None

    def start(self, cursor: bytes) -> None:
        """Begin: what the cursor remembers is not said again before its time."""
        known = {check.id for check in self._checks}
        kept = load_memory(cursor)
        self._memory = {name: said for name, said in kept.items() if name in known}
        self._next = self._clock.boot_ns()

    def descriptors(self) -> Sequence[int]:
        """Return none: nothing tells when a configuration changes but looking."""
        return ()

    def due(self) -> int | None:
        """Return when the next pass is wanted; at once while one is under way."""
        return self._clock.boot_ns() if self._questions or self._out else self._next

    def poll(self, deadline: int) -> Sequence[Evidence | Finding]:
        """Go on with a pass that is due; return what it has to say, evidence before its findings.

        Args:
            deadline: boot-clock nanoseconds; at least one question is put even after it.
        """
        if not self._questions and not self._out and not self._begin():
            return ()
        while self._questions:
            request = self._questions.popleft()
            self._answers[request] = ask(request, self._reader, self._clock)
            if not self._questions:
                self._judge()
            elif self._clock.boot_ns() >= deadline:
                return ()
        return self._give()

    def cursor(self) -> bytes:
        """Return what was said of each check in what `poll` has returned."""
        return dump_memory(self._memory)

    def health(self) -> SensorHealth:
        """Return how much of the last pass was seen."""
        state, reason = HealthState.OK, ""
        if self._unknown is None:
            state, reason = HealthState.DEGRADED, "no pass has ended yet"
        elif self._unknown:
            blind = len(self._unknown) == len(self._checks)
            state = HealthState.BLIND if blind else HealthState.DEGRADED
            words = ", ".join(sorted({reason.partition(":")[0] for reason in self._unknown}))
            reason = f"{len(self._unknown)} of {len(self._checks)} checks are unknown: {words}"
        return SensorHealth(state, "files", reason, self._last_success, 0)

    def stop(self) -> None:
        """Forget the pass under way; harmless when repeated or never started."""
        self._questions.clear()
        self._answers.clear()
        self._out.clear()
        self._reader.forget()
        self._next = None

    def _begin(self) -> bool:
        now = self._clock.boot_ns()
        if self._next is None or now < self._next:
            return False
        self._reader.forget()
        self._answers.clear()
        self._questions.extend(questions(self._checks))
        self._seen = self._clock.wall_ns()
        return bool(self._questions)

    def _judge(self) -> None:
        """End the asking: judge every check and line up what is worth saying."""
        readings = {request: reading for request, (_, reading) in self._answers.items()}
        unsent = {reading.digest: piece for piece, reading in self._answers.values()}
        now = self._clock.wall_ns()
        unknown: list[str] = []
        for check in self._checks:
            verdict = judge(check, readings)
            if verdict.state is CheckState.UNKNOWN:
                unknown.append(verdict.reason)
            if is_due(check, verdict, self._memory.get(check.id), now):
                self._say(check, verdict, unsent, now)
        self._unknown = tuple(unknown)
        if len(unknown) < len(self._checks):
            self._last_success = now
        self._answers.clear()
        self._reader.forget()
        self._next = self._clock.boot_ns() + self._interval

    def _say(
        self, check: CheckSpec, verdict: Verdict, unsent: dict[bytes, Evidence], now: int
    ) -> None:
        """Line up a finding, behind the evidence for it that no finding of this pass had yet."""
        self._out.extend(unsent.pop(digest) for digest in verdict.evidence if digest in unsent)
        said = self._memory.get(check.id)
        finding = finding_of(check, verdict, self._subject, said, Moment(self._seen, now))
        self._out.append(_Statement(check.id, finding, after(verdict, said, now)))

    def _give(self) -> Sequence[Evidence | Finding]:
        given: list[Evidence | Finding] = []
        while self._out and len(given) < POLL_SIGHTINGS_MAX:
            item = self._out.popleft()
            if isinstance(item, _Statement):
                self._memory[item.check] = item.said
                given.append(item.finding)
            else:
                given.append(item)
        return given
