"""Drives a sensor as the loop does: polls while there is reason to, and keeps what it told."""

import contextlib
import resource
import select
from collections.abc import Iterator

from agent.sense.ports import POLL_SIGHTINGS_MAX, Sensor, Sighting
from proto import codec, model
from runtime.clock import NS_PER_MS, Clock

SLICE_NS = 20 * NS_PER_MS
POLLS_MAX = 2000


def drain(sensor: Sensor, clock: Clock, *, slice_ns: int = SLICE_NS) -> list[Sighting]:
    """Poll once, then on while there is reason to; each sighting must be one that can be sealed."""
    told: list[Sighting] = []
    for _ in range(POLLS_MAX):
        new = sensor.poll(clock.boot_ns() + slice_ns)
        assert len(new) <= POLL_SIGHTINGS_MAX
        told += new
        due = sensor.due()
        if (due is None or due > clock.boot_ns()) and not is_readable(sensor):
            break
    else:
        raise AssertionError("the sensor is due for ever")
    for sighting in told:
        codec.encode_record(sighting)
    return told


def is_readable(sensor: Sensor) -> bool:
    """Tell whether a descriptor is a reason to poll."""
    poll = select.poll()
    for fd in sensor.descriptors():
        poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


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


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Let every call that needs a new descriptor fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
