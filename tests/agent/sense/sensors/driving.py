"""Drives a sensor as the loop does: polls while it is due and keeps what it told."""

from agent.sense.ports import POLL_SIGHTINGS_MAX, Sensor, Sighting
from proto import codec, model
from runtime.clock import NS_PER_MS, Clock

SLICE_NS = 20 * NS_PER_MS
POLLS_MAX = 2000


def drain(sensor: Sensor, clock: Clock, *, slice_ns: int = SLICE_NS) -> list[Sighting]:
    """Poll once, then on while the sensor is due; each sighting must be one that can be sealed."""
    told: list[Sighting] = []
    for _ in range(POLLS_MAX):
        new = sensor.poll(clock.boot_ns() + slice_ns)
        assert len(new) <= POLL_SIGHTINGS_MAX
        told += new
        due = sensor.due()
        if due is None or due > clock.boot_ns():
            break
    else:
        raise AssertionError("the sensor is due for ever")
    for sighting in told:
        codec.encode_record(sighting)
    return told


def files_of(told: list[Sighting]) -> list[tuple[model.ObservationKind, model.File]]:
    """Return kind and file of each observation of a file."""
    return [
        (seen.kind, seen.subject.value)
        for seen in told
        if isinstance(seen, model.Observation) and isinstance(seen.subject.value, model.File)
    ]


def drops_of(told: list[Sighting]) -> list[model.Drop]:
    """Return what was said to be missing."""
    return [seen for seen in told if isinstance(seen, model.Drop)]
