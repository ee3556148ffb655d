"""What the ledger takes and gives.

The tenant is the first argument of every method; none exists without it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from certs.identity import AgentId, TenantId
from collector.ledger.chain import Verdict
from proto.model import Header, SeqHash


class SealedBatch(Struct, frozen=True):
    """A batch as it came, its signature, digest and identity checked.

    Args:
        header: what ``header_bytes`` say.
        header_bytes: the exact bytes that were signed.
        header_hash: their name in chains and receipts.
        signature: over the header as a batch.
        body: the exact bytes that the header's digest binds.
        public_key: raw key that the signature was verified with, kept so that proofs need no one.
        received: nanoseconds UTC.
    """

    header: Header
    header_bytes: bytes
    header_hash: bytes
    signature: bytes
    body: bytes
    public_key: bytes
    received: int

    @property
    def size_bytes(self) -> int:
        """Roughly what it takes in memory and on disk."""
        return len(self.header_bytes) + len(self.body) + 256


class Head(Struct, frozen=True):
    """How far one epoch is kept: all that a receipt says.

    Args:
        agent: whose epoch.
        epoch: which.
        seq: the newest batch up to which everything is kept or declared lost.
        header_hash: of that batch; empty where there is none yet.
        ahead: batches kept beyond a hole.
        wanted: the first sequence number that is missing.
    """

    agent: bytes
    epoch: bytes
    seq: int
    header_hash: bytes
    ahead: tuple[SeqHash, ...]
    wanted: int


class Outcome(Struct, frozen=True):
    """What became of one batch.

    Args:
        verdict: its place in history; None where it was not kept because too much is missing
            before it.
        head: of its epoch, after the whole append.
        beside: set where the batch is kept beside its chain, as evidence of a fork.
    """

    verdict: Verdict | None
    head: Head
    beside: SeqHash | None = None


class Stored(Struct, frozen=True):
    """A batch as it is kept; ``position`` counts the tenant's batches from 1."""

    position: int
    received: int
    verdict: Verdict
    header_hash: bytes
    header: bytes
    signature: bytes
    body: bytes


class Hole(Struct, frozen=True):
    """An epoch with something missing.

    Args:
        agent: whose epoch.
        epoch: which.
        wanted: the first missing sequence number.
        top: the highest one known.
        since: when the hole was first seen, in nanoseconds UTC.
    """

    agent: bytes
    epoch: bytes
    wanted: int
    top: int
    since: int


class Mark(Struct, frozen=True):
    """How far a source of derived records has been sealed.

    Args:
        name: the source.
        pending: the id of its last sealed record.
        position: where in the ledger the source stood when it made that record.
    """

    name: str
    pending: int = 0
    position: int = 0


class OwnPlace(Struct, frozen=True):
    """Where the next of the collector's own batches goes."""

    epoch: bytes | None
    seq: int
    previous: bytes


class Ledger(Protocol):
    """The durable log of one collector."""

    def append(self, tenant: TenantId, batches: Sequence[SealedBatch]) -> Sequence[Outcome]:
        """Keep batches durably, all of them or none; one already kept changes nothing.

        Returns:
            One outcome a batch, in order, after they have been synced to disk.

        Raises:
            LedgerUnavailable: nothing was kept; the same call may be tried again.
            LedgerCorrupt: the tenant's file is damaged.
            LedgerForeign: the tenant's file is not this tenant's, or of a newer version.
        """
        ...

    def heads(self, tenant: TenantId, agent: AgentId, count_max: int) -> Sequence[Head]:
        """Return the agent's newest epochs, newest first.

        Raises:
            LedgerUnavailable: the file cannot be read now.
            LedgerCorrupt: the tenant's file is damaged.
            LedgerForeign: the tenant's file is not this tenant's, or of a newer version.
        """
        ...

    def generation(self, tenant: TenantId) -> bytes:
        """Return the 16 bytes that name this life of the tenant's ledger.

        Raises:
            LedgerUnavailable: the file cannot be read or made now.
            LedgerCorrupt: the tenant's file is damaged.
            LedgerForeign: the tenant's file is not this tenant's, or of a newer version.
        """
        ...

    def read(
        self, tenant: TenantId, after: int, batches_max: int, bytes_max: int
    ) -> Sequence[Stored]:
        """Return batches behind a position, in order; at least one where there is any.

        Raises:
            LedgerUnavailable: the file cannot be read now.
            LedgerCorrupt: the tenant's file is damaged.
            LedgerForeign: the tenant's file is not this tenant's, or of a newer version.
        """
        ...


class OwnLedger(Protocol):
    """The part of the ledger that the collector itself writes: its own chain in each tenant."""

    def append_own(
        self, tenant: TenantId, agent: AgentId, mark: Mark | None, seal: "Seal"
    ) -> Outcome | None:
        """Seal and keep one batch of the collector's own, and move a mark, in one transaction.

        Args:
            tenant: whose ledger.
            agent: the collector's own id.
            mark: what will have been sealed; None for records that no source counts.
            seal: makes the batch for the place it is given.

        Returns:
            None where the mark says that these records were sealed before.

        Raises:
            LedgerUnavailable: nothing was kept; the same call may be tried again.
            LedgerCorrupt: the tenant's file is damaged.
            LedgerForeign: the tenant's file is not this tenant's, or of a newer version.
        """
        ...

    def mark(self, tenant: TenantId, name: str) -> Mark:
        """Return how far a source has been sealed.

        Raises:
            LedgerUnavailable: the file cannot be read now.
            LedgerCorrupt: the tenant's file is damaged.
            LedgerForeign: the tenant's file is not this tenant's, or of a newer version.
        """
        ...


Seal = Callable[[OwnPlace], SealedBatch]
