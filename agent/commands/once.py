"""Running a sensor for one pass, without the daemon."""

from collections.abc import Iterator

from agent.sense.ports import Sensor, Sighting
from certs.identity import AgentId, PeerIdentity, TenantId
from runtime.clock import NS_PER_MS, Clock

SLICE_MS = 200
# Whose findings these are, where nothing is enrolled and nothing sealed.
NOBODY = PeerIdentity(TenantId(bytes(16)), AgentId(bytes(16)))


def once(sensor: Sensor, clock: Clock, end: int) -> Iterator[Sighting]:
    """Yield a sensor's sightings until it has nothing due at once.

    Args:
        sensor: not started; stopped at the end.
        clock: the source of time.
        end: boot-clock nanoseconds by which to stop.
    """
    sensor.start(b"")
    try:
        while clock.boot_ns() < end:
            yield from sensor.poll(clock.boot_ns() + SLICE_MS * NS_PER_MS)
            due = sensor.due()
            if due is None or due > clock.boot_ns():
                return
    finally:
        sensor.stop()
