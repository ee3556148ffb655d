"""What is forwarded: one record or checkpoint, with what its batch says around it."""

import enum

from msgspec import Struct

from proto.model import Drop, Finding, Health, Incident, Severity


class EventKind(enum.Enum):
    """What an event tells of; the values are stable names, used in filters and formats."""

    FINDING = "finding"
    INCIDENT = "incident"
    HEALTH = "health"
    DROP = "drop"
    CHECKPOINT = "checkpoint"
    TEST = "test"


class Place(Struct, frozen=True, order=True):
    """How far a ledger has been dealt with: a cursor.

    Args:
        position: every batch up to here, whole.
        taken: how many records of the batch after it.
    """

    position: int
    taken: int = 0


class Origin(Struct, frozen=True):
    """What all events of one batch share; ids as people read them.

    Args:
        tenant: whose.
        agent: which agent sealed it; the collector's own id where ``derived``.
        host: the name that the agent gave; untrusted text.
        received: when the collector had it, nanoseconds UTC.
        trusted: False while the agent is in quarantine.
        derived: sealed by the collector itself.
    """

    tenant: str
    agent: str
    host: str
    received: int
    trusted: bool = True
    derived: bool = False


class Checkpoint(Struct, frozen=True):
    """The signed head of a tenant's transparency log, as it goes to every destination.

    Args:
        size: entries in the log.
        at: when it was signed, nanoseconds UTC.
        note: the signed note, as text.
    """

    size: int
    at: int
    note: str


class Trial(Struct, frozen=True):
    """A marked event that shows whether a destination works; it tells of nothing found."""

    at: int


Subject = Finding | Incident | Health | Drop | Checkpoint | Trial


class Event(Struct, frozen=True):
    """One thing to forward.

    Args:
        uid: names this statement, the same each time it is sent: what receivers de-duplicate by.
        kind: what it tells of.
        severity: how bad; of events that are no finding, how much they matter.
        time: when it happened, nanoseconds UTC by the host's clock; untrusted.
        origin: of the batch.
        subject: what is told.
        position: of its batch in the ledger; 0 for an event that is no record.
        index: of its record in the batch.
        is_last: no record of the batch comes after it.
    """

    uid: str
    kind: EventKind
    severity: Severity
    time: int
    origin: Origin
    subject: Subject
    position: int = 0
    index: int = 0
    is_last: bool = False

    @property
    def through(self) -> Place | None:
        """The cursor once this event and all before it are settled; None for no record."""
        if not self.position:
            return None
        return Place(self.position) if self.is_last else Place(self.position - 1, self.index + 1)
