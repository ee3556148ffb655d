"""The recorder: the last observations, kept on the host and bounded, to give findings context.

It never leaves whole. When a finding of medium severity or higher is sealed, the observations
around it that share its process, a parent or its subject are sealed beside it, up to 16 KiB.
"""

from collections import deque
from typing import Annotated, Final

from msgspec import Meta, Struct, structs

from proto import codec
from proto.errors import WireError
from proto.model import Finding, Observation, ObservationKind, Process, Thing

_THERE_ALL_ALONG: Final = frozenset(
    {
        ObservationKind.FILE_SEEN,
        ObservationKind.PACKAGE_SEEN,
        ObservationKind.ACCOUNT_SEEN,
        ObservationKind.PERSISTENCE_SEEN,
    }
)


class RecorderSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the past is at hand."""

    # About a minute of a busy host; each costs about 2 KiB of memory.
    observations_max: Annotated[int, Meta(ge=0, le=100_000)] = 1_000
    # Of encoded observations sealed beside one finding.
    context_bytes_max: Annotated[int, Meta(ge=0, le=65_536)] = 16 * 1024


class Recorder:
    """A ring of redacted observations."""

    def __init__(self, settings: RecorderSettings) -> None:
        self._settings = settings
        self._ring: deque[Observation] = deque(maxlen=settings.observations_max)

    def __len__(self) -> int:
        """How many observations are at hand."""
        return len(self._ring)

    def note(self, observation: Observation) -> None:
        """Keep an observation, and forget the oldest when full.

        What was there before anything happened is no surroundings: a first look at a host would
        fill the ring with it.
        """
        if observation.kind not in _THERE_ALL_ALONG:
            self._ring.append(observation)

    def context(self, finding: Finding, trigger: Observation) -> list[bytes]:
        """Return encoded observations that surround a finding, the trigger first.

        Each names the finding's key, so that a reader can put them back together.
        """
        related = _processes(trigger)
        room = self._settings.context_bytes_max
        out: list[bytes] = []
        for observation in (trigger, *reversed(self._ring)):
            if observation is not trigger and not _is_related(observation, trigger, related):
                continue
            try:
                record = codec.encode_record(structs.replace(observation, finding_key=finding.key))
            except WireError:
                # The finding stands; what could not be sent of its surroundings is not kept back.
                continue
            if len(record) > room:
                break
            room -= len(record)
            out.append(record)
        return out


def _is_related(
    observation: Observation, trigger: Observation, related: set[tuple[int, int]]
) -> bool:
    if observation == trigger:
        return False
    return bool(_processes(observation) & related) or _same_subject(
        observation.subject.value, trigger.subject.value
    )


def _processes(observation: Observation) -> set[tuple[int, int]]:
    subject = observation.subject.value
    named = [observation.process, subject if isinstance(subject, Process) else None]
    return {(p.pid, p.start) for p in named if p is not None}


def _same_subject(one: Thing, other: Thing) -> bool:
    path = getattr(one, "path", None)
    address = getattr(one, "remote_address", None)
    return (isinstance(path, str) and path == getattr(other, "path", None)) or (
        isinstance(address, str) and address == getattr(other, "remote_address", None)
    )
