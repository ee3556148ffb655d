"""A sensor behind a guard: a fault of its own blinds it for a while, and none of the others.

What a sensor reads is chosen by strangers, and no parser is free of faults. One that would end the
daemon ends the sensor's turn instead: it is closed, its health says blind and why, and it starts
again from where it last stood, later each time. When it does, a drop record names the time in which
nobody looked.
"""

import sqlite3
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from agent.sense.ports import (
    Ease,
    Easing,
    Restating,
    Sensor,
    SensorHealth,
    SensorSpec,
    Sighting,
)
from proto.model import Drop, DropReason, HealthState
from runtime.clock import NS_PER_S, Clock
from runtime.errors import VedetteError
from runtime.logs import logger

RETRY_S_FIRST: Final = 1
RETRY_S_MAX: Final = 300
# So long without a fault, and the next one is a first again.
SOUND_S: Final = 600

# Faults in a sensor's own code, or of input that it did not foresee. Running out of memory is none.
FAULTS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    VedetteError,
    sqlite3.Error,
    struct.error,
    zlib.error,
)

log = logger(__name__)

_T = TypeVar("_T")


class Guarded:
    """A sensor that outlives its faults.

    Args:
        name: what it is called.
        sensor: does the work.
        clock: says how long it was blind, and when to try again.
    """

    def __init__(self, name: str, sensor: Sensor, clock: Clock) -> None:
        self.spec: SensorSpec = sensor.spec
        self._name = name
        self._sensor = sensor
        self._clock = clock
        self._cursor = b""
        self._retry_at: int | None = None
        self._retry_s = RETRY_S_FIRST
        self._fault = ""
        self._faults = 0
        self._sound = (0, 0)
        self._failed_at = 0
        self._ease = Ease.NORMAL

    @property
    def _is_blind(self) -> bool:
        return self._retry_at is not None

    def start(self, cursor: bytes) -> None:
        """Open the sources; where that fails, it is tried again."""
        self._cursor = cursor
        self._note_sound()
        self._try(lambda: self._sensor.start(cursor), None)

    def descriptors(self) -> Sequence[int]:
        """Return what to wait on for reading; nothing while it is blind."""
        return self._try(self._sensor.descriptors, ())

    def due(self) -> int | None:
        """Return when a poll is wanted, the next trial included."""
        due = self._try(self._sensor.due, None)
        return due if self._retry_at is None else self._retry_at

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Return what is new, or begin again where that is due."""
        told: list[Sighting] = []
        if self._retry_at is not None and not self._begun_again(told):
            return ()
        told += self._try(lambda: self._sensor.poll(deadline), ())
        if self._retry_at is None:
            self._cursor = self._try(self._sensor.cursor, self._cursor)
            self._note_sound()
        return told

    def cursor(self) -> bytes:
        """Return where the source stood after the last poll that went well."""
        return self._cursor

    def health(self) -> SensorHealth:
        """Return what the sensor says of itself, or that it does not work."""
        blind = SensorHealth(HealthState.BLIND, "none", "", self._sound[0], self._faults)
        found = self._try(self._sensor.health, blind)
        if self._retry_at is not None:
            return SensorHealth(
                HealthState.BLIND, "none", f"failed: {self._fault}", self._sound[0], self._faults
            )
        return found

    def stop(self) -> None:
        """Close the sources."""
        try:
            self._sensor.stop()
        except FAULTS as error:
            log.warning("sensor does not stop", sensor=self._name, error=error)

    def ease(self, level: Ease) -> None:
        """Pass on how much is to be given up, now and after every new start."""
        self._ease = level
        if isinstance(self._sensor, Easing):
            sensor = self._sensor
            self._try(lambda: sensor.ease(level), None)

    def restate(self) -> None:
        """Pass on that everything is to be stated again."""
        if isinstance(self._sensor, Restating):
            self._try(self._sensor.restate, None)

    def _try(self, work: Callable[[], _T], otherwise: _T) -> _T:
        """Do a part of the sensor's work, unless it is blind; a fault makes it so."""
        if self._retry_at is not None:
            return otherwise
        try:
            return work()
        except FAULTS as error:
            self._break(error)
            return otherwise

    def _break(self, error: Exception) -> None:
        now = self._clock.boot_ns()
        if now - self._failed_at > SOUND_S * NS_PER_S:
            self._retry_s = RETRY_S_FIRST
        self._failed_at = now
        self._retry_at = now + self._retry_s * NS_PER_S
        self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)
        self._faults += 1
        # What the error says may be a stranger's words; the log escapes them, health does not.
        self._fault = type(error).__name__
        log.error("sensor failed and is tried again", sensor=self._name, error=error)
        self.stop()

    def _begun_again(self, told: list[Sighting]) -> bool:
        """Start once more, where it is time; state the time in which nobody looked."""
        now = self._clock.boot_ns()
        if self._retry_at is None or now < self._retry_at:
            return False
        self._retry_at = None
        self._try(lambda: self._sensor.start(self._cursor), None)
        self.ease(self._ease)
        if self._is_blind:
            return False
        told.append(
            Drop(
                reason=DropReason.SOURCE_GAP,
                sensor=self._name,
                first=self._sound[0],
                last=self._clock.wall_ns(),
                first_boot=self._sound[1],
                last_boot=now,
                detail=f"the sensor failed ({self._fault}) and was started again",
            )
        )
        self._note_sound()
        return True

    def _note_sound(self) -> None:
        self._sound = (self._clock.wall_ns(), self._clock.boot_ns())
