"""One marked event through a destination's own sink, to see how far it comes (`sinks test`)."""

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from certs.identity import TenantId
from collector.forward.errors import ForwardError, NoSuchDestination
from collector.forward.event import Origin
from collector.forward.ports import Sink
from collector.forward.select import trial_event
from collector.forward.settings import AnyDestination
from collector.forward.states import State
from runtime.clock import NS_PER_S, Clock

ASK_WAIT_S_MAX = 1.0


class TrialReport(Struct, frozen=True):
    """What became of the marked event.

    Args:
        destination: its name.
        event_id: look for it in the SIEM.
        state: how far it came.
        top: how far it can come there.
        detail: what stood in the way; empty when nothing did.
        elapsed_s: how long it took, in seconds.
    """

    destination: str
    event_id: str
    state: State
    top: State
    detail: str
    elapsed_s: float

    @property
    def is_well(self) -> bool:
        """Whether it came as far as it can."""
        return self.state is self.top


def named(destinations: Sequence[AnyDestination], name: str) -> AnyDestination:
    """Return the destination of a name.

    Raises:
        NoSuchDestination: there is none; the error names those there are.
    """
    for destination in destinations:
        if destination.name == name:
            return destination
    known = ", ".join(one.name for one in destinations) or "none"
    raise NoSuchDestination(f"no destination is named {name}", hint=f"known: {known}")


async def try_out(
    destination: AnyDestination, sink: Sink, tenant: TenantId, clock: Clock, wait_s_max: float
) -> TrialReport:
    """Send one marked event and wait until it came as far as it can, or for as long as allowed."""
    now = clock.wall_ns()
    event = trial_event(Origin(str(tenant), "", "", now), now)
    start_ns = clock.monotonic_ns()
    state, detail = State.QUEUED, ""
    try:
        async with asyncio.timeout(wait_s_max):
            sent = await sink.send(sink.pack([sink.encode(event, now)]))
            state = sent.state
            if sent.token is not None:
                state = await _settled(sink, sent.token)
    except TimeoutError:
        detail = f"nothing more was known after {wait_s_max:g} s"
    except ForwardError as error:
        detail = str(error)
    finally:
        await sink.close()
    elapsed_s = (clock.monotonic_ns() - start_ns) / NS_PER_S
    detail = detail or sink.degraded
    return TrialReport(destination.name, event.uid, state, destination.top, detail, elapsed_s)


async def _settled(sink: Sink, token: int) -> State:
    while True:
        await asyncio.sleep(min(sink.ask_wait_s, ASK_WAIT_S_MAX))
        state = (await sink.ask([token])).get(token)
        if state is not None:
            return state
