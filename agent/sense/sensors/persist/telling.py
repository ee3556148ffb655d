"""How entries, logins and losses are told: as sightings, each kept before it is given out."""

from typing import Final

from agent.sense.mechanisms import ACCOUNTS
from agent.sense.ports import SensorSpec, Sighting
from agent.sense.sensors.persist.loginrecords import Record
from agent.sense.sensors.told import Told
from proto import model
from proto.model import Change, Persistence
from proto.model import ObservationKind as Kind
from runtime.clock import Clock

# Of accounts, of others.
_CHANGED: Final = (Kind.ACCOUNT_CHANGED, Kind.PERSISTENCE_CHANGED)
_KINDS: Final = {
    Change.PRESENT: (Kind.ACCOUNT_SEEN, Kind.PERSISTENCE_SEEN),
    Change.ADDED: (Kind.ACCOUNT_ADDED, Kind.PERSISTENCE_ADDED),
    Change.REMOVED: (Kind.ACCOUNT_REMOVED, Kind.PERSISTENCE_REMOVED),
}


class Teller:
    """Collects in `out` what one poll tells.

    Args:
        spec: of the sensor that tells.
        told: keeps what is told until it is sealed.
        clock: stamps it.
    """

    def __init__(self, spec: SensorSpec, told: Told, clock: Clock) -> None:
        self._spec = spec
        self._told = told
        self._clock = clock
        self._source = model.Source(spec.name, "", spec.coverage)
        self.out: list[Sighting] = []

    def begin(self, rung: str) -> list[Sighting]:
        """Return the list that takes what is told from now on."""
        if rung != self._source.rung:
            self._source = model.Source(self._spec.name, rung, self._spec.coverage)
        self.out = []
        return self.out

    def entry(self, change: Change, item: Persistence, changed: int = 0) -> None:
        """Tell an entry that came, went, or stands.

        Args:
            change: which of these.
            item: the entry.
            changed: when its file changed, nanoseconds UTC; 0 for now.
        """
        self.item(change, item)
        self._observe(_KINDS[change], item, changed)

    def changed(self, before: Persistence, item: Persistence, changed: int) -> None:
        """Tell an entry that says another thing now: of the inventory one is gone, another come."""
        self.item(Change.REMOVED, before)
        self.item(Change.ADDED, item)
        self._observe(_CHANGED, item, changed)

    def item(self, change: Change, item: Persistence) -> None:
        """Tell of the inventory alone."""
        entity = model.Entity(model.Role.TARGET, item)
        self._give(model.InventoryItem(change, entity, self._clock.wall_ns(), self._source))

    def login(self, record: Record) -> None:
        """Tell a login that was recorded; the rung names the file."""
        rung = record.path.rpartition("/")[2]
        self._give(
            model.Observation(
                kind=Kind.LOGIN,
                source=model.Source(self._spec.name, rung, "logins recorded"),
                event_time=record.at,
                event_precision=model.Precision.SECOND,
                observed_at=self._clock.wall_ns(),
                subject=model.Entity(model.Role.ACTOR, record.login),
            )
        )

    def loss(self, why: str, first: int | None = None) -> None:
        """Say that something may have gone untold.

        Args:
            why: what was lost.
            first: since when, nanoseconds UTC; None where that is not known.
        """
        self._give(
            model.Drop(
                reason=model.DropReason.SOURCE_GAP,
                sensor=self._spec.name,
                first=first,
                last=self._clock.wall_ns(),
                last_boot=self._clock.boot_ns(),
                detail=why,
            )
        )

    def _observe(self, kinds: tuple[Kind, Kind], item: Persistence, changed: int) -> None:
        now = self._clock.wall_ns()
        self._give(
            model.Observation(
                kind=kinds[item.mechanism not in ACCOUNTS],
                source=self._source,
                event_time=changed or now,
                event_precision=model.Precision.POLL,
                observed_at=now,
                subject=model.Entity(model.Role.TARGET, item),
            )
        )

    def _give(self, sighting: Sighting) -> None:
        self._told.tell(sighting)
        self.out.append(sighting)
