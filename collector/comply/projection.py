"""The compliance projection: the newest verdict of every host and check, and scores in time.

`ComplyProjection.apply` only keeps; nothing is scored while batches come in. `tick` states a score
for each framework when a verdict or the population has changed, and once a day. The moment it is
stated for follows from what was kept and from the day, not from when `tick` happened to run, so the
same inputs give the same record again.

Batches of a host in quarantine cannot make it look better: of what it says only failures are taken.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

from certs.identity import AgentId, TenantId
from collector.comply import queries, tables
from collector.comply.mapping import Catalogue, builtin_catalogue
from collector.ports import Admitted, AdmittedBatch
from proto.content.checks import Request, UnknownReason, evidence_digest
from proto.model import CheckState, Evidence, Finding, FindingKind, Record, Score
from runtime.clock import NS_PER_S

DAY_NS: Final = 24 * 3600 * NS_PER_S
SOURCES_MAX: Final = 256
_STARVED_INTERVALS: Final = 5


class ComplySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How often scores are stated; they can be asked for at any time."""

    # Least time between two statements: every one goes to the ledger and the SIEMs.
    score_interval_s_min: Annotated[int, Meta(ge=1, le=86_400)] = 300
    # A change is stated once nothing has changed for this long: verdicts come in flocks.
    settle_s: Annotated[int, Meta(ge=0, le=3600)] = 3


class ComplyProjection:
    """A live projection of one tenant's database (`collector.ports.LiveProjection`).

    Args:
        catalogue: the checks and frameworks; None for those we ship.
        settings: how often scores are stated.
    """

    name = "comply"
    schema = tables.SCHEMA

    def __init__(
        self, catalogue: Catalogue | None = None, settings: ComplySettings | None = None
    ) -> None:
        self._catalogue = catalogue or builtin_catalogue()
        self._settings = settings or ComplySettings()
        self._stated: dict[TenantId, tuple[int, int]] = {}

    def apply(self, db: sqlite3.Connection, batch: AdmittedBatch) -> Sequence[Record]:
        """Take one batch in; what the collector sealed itself states no fact about a host.

        Returns:
            Nothing: scores are stated by `tick`.
        """
        if batch.derived:
            for admitted in batch.records:
                if isinstance(admitted.record, Score):
                    tables.keep_score(db, admitted.record)
            return ()
        agent = batch.agent.bytes
        changed = tables.keep_host(
            db, agent, (batch.position, batch.received), trusted=batch.trusted
        )
        rank = tables.rank_of(db, agent, batch.header.epoch)
        for admitted in batch.records:
            said = self._verdict(admitted, rank, trusted=batch.trusted)
            if said is not None:
                changed = tables.keep_verdict(db, said) or changed
        pieces = [piece for piece in _evidence(batch.records) if batch.trusted]
        if pieces:
            changed = tables.keep_evidence(db, agent, pieces, batch.received) or changed
        db.execute(
            "update clock set newest = max(newest, ?1),"
            " changed = case when ?2 then max(?1, newest + 1) else changed end",
            (batch.received, changed),
        )
        return ()

    def tick(self, db: sqlite3.Connection, tenant: TenantId, now: int) -> Sequence[Record]:
        """State the scores when they are due.

        Args:
            db: the tenant's database.
            tenant: whose it is.
            now: nanoseconds UTC.

        Returns:
            One score a framework, or nothing.
        """
        moment = self._due(db, tenant, queries.not_before_evidence(db, now))
        if moment is None:
            return ()
        scores = queries.scores(db, moment, self._catalogue)
        self._stated[tenant] = (scores[0].as_of, scores[0].hosts) if scores else (moment, 0)
        return [
            replace(score, sources=tables.sources(db, scheme.references, SOURCES_MAX))
            for score, scheme in zip(scores, self._catalogue.schemes, strict=True)
        ]

    def set_inventory(self, db: sqlite3.Connection, agents: Iterable[AgentId]) -> None:
        """Make the registry's list of enrolled agents the population, beside who ever spoke.

        Without it a host that enrolled and never sent a batch would not be missed.
        """
        db.execute("delete from enrolled")
        db.executemany(
            "insert or ignore into enrolled values (?)", [(agent.bytes,) for agent in agents]
        )

    def _verdict(self, admitted: Admitted, rank: int, *, trusted: bool) -> tables.Said | None:
        """Return the verdict that a record states, None where it states none that counts."""
        record = admitted.record
        if not isinstance(record, Finding) or record.kind is not FindingKind.COMPLIANCE:
            return None
        check = record.check
        if check is None or check.id not in self._catalogue.checks:
            return None
        state, reason = check.state, check.reason
        if state is CheckState.UNSPECIFIED:
            state, reason = CheckState.UNKNOWN, UnknownReason.PARSE.value
        elif not trusted and state is not CheckState.FAIL:
            state, reason = CheckState.UNKNOWN, UnknownReason.UNTRUSTED.value
        return tables.Said(
            ref=admitted.ref,
            rank=rank,
            check=check.id,
            state=state,
            reason=reason,
            version=check.version,
            evidence=check.evidence,
        )

    def _due(self, db: sqlite3.Connection, tenant: TenantId, now: int) -> int | None:
        """Return the moment to state scores for, None where there is nothing new to state."""
        hosts = len(tables.population(db))
        if not hosts:
            return None
        changed = tables.changed(db)
        day = now // DAY_NS * DAY_NS
        settled = now - changed >= self._settings.settle_s * NS_PER_S
        pause = self._settings.score_interval_s_min * NS_PER_S
        last = self._last(db, tenant)
        if last is None:
            waited = now - tables.first_received(db) >= pause
            return max(changed, day) if settled or waited else None
        as_of, hosts_then = last
        if day > as_of:
            return max(changed, day)
        if now - as_of < pause or (changed <= as_of and hosts == hosts_then):
            return None
        starved = now - as_of >= _STARVED_INTERVALS * pause
        if not (settled or starved):
            return None
        return changed if changed > as_of else now

    def _last(self, db: sqlite3.Connection, tenant: TenantId) -> tuple[int, int] | None:
        """Return for which moment, and for how many hosts, every framework was last stated."""
        if tenant in self._stated:
            return self._stated[tenant]
        found: list[tuple[int, int]] = []
        for scheme in self._catalogue.schemes:
            table = scheme.framework
            last = tables.last_stated(db, table.framework, table.edition, scheme.digest)
            if last is None:
                return None
            found.append(last)
        return min(found, default=None)


def _evidence(records: Iterable[Admitted]) -> list[Evidence]:
    """Return the pieces of evidence whose digest is that of their content."""
    found = []
    for admitted in records:
        piece = admitted.record
        if isinstance(piece, Evidence):
            request = Request(piece.probe, piece.parameters)
            if piece.digest == evidence_digest(request, piece.version, piece.unknown, piece.facts):
                found.append(piece)
    return found
