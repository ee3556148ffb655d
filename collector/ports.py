"""What the rooms of the collector ask of each other.

The ledger keeps sealed batches as exact bytes. Below the verified mark every projection reads
`AdmittedBatch` values through a cursor of its own, kept in the same transaction as its effects.
"""

import sqlite3
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from certs.identity import AgentId, TenantId
from proto.model import Header, Record, RecordRef


class Admitted(Struct, frozen=True):
    """A record below the verified mark, with the place that names it."""

    ref: RecordRef
    record: Record


class AdmittedBatch(Struct, frozen=True):
    """A batch whose body was checked against its signed root.

    ``position`` counts batches in the tenant's ledger from 1. A batch of an agent in quarantine is
    not ``trusted``: it is shown and stored, but fires no correlation and never scores as pass.
    ``derived`` batches were sealed by the collector itself and state no fact about a host.
    """

    tenant: TenantId
    position: int
    agent: AgentId
    received: int
    header: Header
    records: tuple[Admitted, ...]
    trusted: bool
    derived: bool


class Projection(Protocol):
    """A view of the ledger that can be thrown away and built again.

    ``schema`` is run on an empty database; `apply` is called once for each batch in ledger order,
    inside a transaction that also moves the cursor. It must not commit, block on a peer or read a
    clock: the same batches give the same dump.
    """

    @property
    def name(self) -> str:
        """A lower-case word: the projection's file is called so."""
        ...

    @property
    def schema(self) -> str:
        """SQL that makes an empty database ready."""
        ...

    def apply(self, db: sqlite3.Connection, batch: AdmittedBatch) -> Sequence[Record]:
        """Take one batch in.

        Returns:
            Derived records (incidents, scores) to seal as the collector's own; empty for most.
        """
        ...


class LiveProjection(Projection, Protocol):
    """A projection that also has something to say when time passes."""

    def tick(self, db: sqlite3.Connection, tenant: TenantId, now: int) -> Sequence[Record]:
        """Look at the clock (nanoseconds UTC); called at least every few seconds."""
        ...
