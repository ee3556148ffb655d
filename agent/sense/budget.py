"""The budget: what sensing may cost, and what is given up, step by step, when it costs more.

    normal -> slower -> no hashing -> no enrichment -> heartbeat

Measured at turns of the loop that happen anyway, over windows of a minute, so it costs no wakeup.
One step is taken up at the end of a window over a ceiling, one step back after three windows well
below both, or more where that was too early the last time and something is still seen. Each step is
a health record: what is seen less is said, never silently left out.
"""

import os
import time
from typing import Annotated, Final, Protocol

from msgspec import Meta, Struct

from agent.sense.ports import Ease
from proto.model import Health, HealthState
from runtime.clock import NS_PER_S

SUBJECT: Final = "budget"
# Below this share of a ceiling a window counts as quiet; between the two nothing moves.
QUIET_PERCENT: Final = 70
QUIET_WINDOWS: Final = 3
# What was given back too early and had to be taken again is given back later the next time.
QUIET_WINDOWS_MAX: Final = 96
_MIB: Final = 1024 * 1024
_ROLLUP: Final = "/proc/self/smaps_rollup"
_ROLLUP_BYTES_MAX: Final = 8192

MEANINGS: Final = {
    Ease.NORMAL: "everything runs as configured",
    Ease.SLOWER: "sources are read less often",
    Ease.NO_HASHING: "sources are read less often, nothing new is hashed",
    Ease.NO_ENRICHMENT: "besides, findings go without their surroundings",
    Ease.HEARTBEAT: "sources are not read; what is missed is declared",
}

# What it does to sight; what lies between is degraded.
_STATES: Final = {Ease.NORMAL: HealthState.OK, Ease.HEARTBEAT: HealthState.BLIND}


class BudgetSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Ceilings of the privileged half; it eases off before the unit's own limits act."""

    # Of one core, over a window; 0 for no ceiling.
    cpu_percent_max: Annotated[int, Meta(ge=0, le=10_000)] = 25
    # Memory that is its own, content mapped from files apart; 0 for no ceiling.
    memory_mib_max: Annotated[int, Meta(ge=0, le=1 << 20)] = 192
    # Shorter reacts sooner, and takes a burst for a state.
    window_s: Annotated[int, Meta(ge=1, le=3600)] = 60


class Meter(Protocol):
    """Measures this process."""

    def cpu_ns(self) -> int:
        """Return the CPU time taken since the process began."""
        ...

    def memory_bytes(self) -> int:
        """Return the memory that would be free if the process were not there."""
        ...


class OwnMeter:
    """This process, by the kernel's accounts."""

    def cpu_ns(self) -> int:
        """Return user and system time of all threads."""
        return time.process_time_ns()

    def memory_bytes(self) -> int:
        """Return anonymous memory; pages of a mapped file can be taken back at any time.

        Where the kernel does not say, 0: nothing is given up on a guess.
        """
        try:
            fd = os.open(_ROLLUP, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            text = os.read(fd, _ROLLUP_BYTES_MAX)
        except OSError:
            return 0
        finally:
            os.close(fd)
        return anonymous_bytes(text)


def anonymous_bytes(rollup: bytes) -> int:
    """Return the anonymous memory that a ``smaps_rollup`` tells of; 0 where it does not."""
    for name in (b"Pss_Anon:", b"Anonymous:"):
        for line in rollup.splitlines():
            words = line.split()
            if words[:1] == [name] and len(words) > 1 and words[1].isdigit():
                return int(words[1]) * 1024
    return 0


class Budget:
    """Decides how much has to be given up.

    Args:
        settings: the ceilings.
        meter: measures.
    """

    def __init__(self, settings: BudgetSettings, meter: Meter) -> None:
        self._settings = settings
        self._meter = meter
        self._began_at = 0
        self._began_cpu = 0
        self._quiet = 0
        self._patience = QUIET_WINDOWS
        self._is_trying = False
        self.level = Ease.NORMAL
        self.cpu_percent = 0.0
        self.memory_bytes = 0

    def start(self, now: int) -> None:
        """Begin the first window: starting itself is not sensing.

        Args:
            now: boot-clock nanoseconds.
        """
        self._began_at, self._began_cpu = now, self._meter.cpu_ns()

    def tick(self, now: int, wall: int) -> Health | None:
        """Look at a window that has ended; return what to say when a step was taken.

        Args:
            now: boot-clock nanoseconds.
            wall: nanoseconds UTC, for the record.
        """
        passed = now - self._began_at
        if passed < self._settings.window_s * NS_PER_S:
            return None
        cpu = self._meter.cpu_ns()
        self.cpu_percent = 100 * (cpu - self._began_cpu) / passed
        self.memory_bytes = self._meter.memory_bytes()
        self._began_at, self._began_cpu = now, cpu
        over = self._over()
        if over:
            if self._is_trying:
                self._patience = min(2 * self._patience, QUIET_WINDOWS_MAX)
            self._quiet, self._is_trying = 0, False
            return self._step(1, over, wall)
        self._quiet = self._quiet + 1 if self._is_quiet() else 0
        # Blind is worse than dear: from there it is always tried again soon.
        is_blind = self.level is Ease.HEARTBEAT
        if self._quiet < (QUIET_WINDOWS if is_blind else self._patience):
            return None
        self._quiet = 0
        if self.level is Ease.NORMAL:
            self._patience, self._is_trying = QUIET_WINDOWS, False
            return None
        self._is_trying = True
        return self._step(-1, "", wall)

    def _step(self, by: int, why: str, wall: int) -> Health | None:
        level = Ease(min(max(self.level + by, Ease.NORMAL), Ease.HEARTBEAT))
        if level is self.level:
            return None
        self.level = level
        is_normal = level is Ease.NORMAL
        return Health(
            subject=SUBJECT,
            state=_STATES.get(level, HealthState.DEGRADED),
            reason="" if is_normal else f"{why or 'back by one step'}: {MEANINGS[level]}",
            rung=level.name.lower().replace("_", " "),
            at=wall,
        )

    def _over(self) -> str:
        """Say which ceiling was broken, if one was."""
        settings = self._settings
        if settings.cpu_percent_max and self.cpu_percent > settings.cpu_percent_max:
            return f"{self.cpu_percent:.0f} % of a core, at most {settings.cpu_percent_max} allowed"
        if settings.memory_mib_max and self.memory_bytes > settings.memory_mib_max * _MIB:
            mib = self.memory_bytes // _MIB
            return f"{mib} MiB of memory, at most {settings.memory_mib_max} allowed"
        return ""

    def _is_quiet(self) -> bool:
        settings = self._settings
        cpu = 100 * self.cpu_percent <= settings.cpu_percent_max * QUIET_PERCENT
        memory = 100 * self.memory_bytes <= settings.memory_mib_max * _MIB * QUIET_PERCENT
        return (cpu or not settings.cpu_percent_max) and (memory or not settings.memory_mib_max)
