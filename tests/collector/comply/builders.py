"""Hosts, statements and batches that compliance tests build on."""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache

from msgspec import structs

from certs.identity import AgentId
from collector.comply.mapping import Catalogue, builtin_catalogue
from collector.comply.projection import ComplyProjection
from collector.comply.standing import Host, Statement
from collector.comply.tables import SCHEMA
from collector.ports import Admitted, AdmittedBatch
from proto.content.checks import CheckSpec, Request, builtin_pack, evidence_digest
from proto.model import (
    Activity,
    Check,
    CheckState,
    Disposition,
    Evidence,
    Finding,
    FindingKind,
    Precision,
    Record,
    RecordRef,
    Rule,
    Severity,
    Source,
)
from runtime.clock import NS_PER_S
from tests.collector.builders import EPOCH, NOW, TENANT, a_header

DAY = 24 * 3600 * NS_PER_S
HOST = b"\x01" * 16
OTHER = b"\x02" * 16
CHECKS = builtin_pack().checks
PASS, FAIL, UNKNOWN, EXEMPT = (
    CheckState.PASS,
    CheckState.FAIL,
    CheckState.UNKNOWN,
    CheckState.NOT_APPLICABLE,
)


@cache
def a_catalogue() -> Catalogue:
    return builtin_catalogue()


def a_population(*hosts: bytes, **how: object) -> dict[bytes, Host]:
    return {host: Host(host, **how) for host in hosts or (HOST,)}  # type: ignore[arg-type]


def a_statement(
    state: CheckState = PASS,
    check: str = CHECKS[0].id,
    host: bytes = HOST,
    at: int | None = NOW,
    order: int = 1,
    reason: str = "",
) -> Statement:
    return Statement(host, check, state, reason or state.value, at, (0, order, 0))


def all_of(state: CheckState, host: bytes = HOST, at: int | None = NOW) -> list[Statement]:
    return [a_statement(state, check.id, host, at) for check in CHECKS]


def a_piece(check: CheckSpec = CHECKS[0], facts: bytes = b"{}", at: int = NOW) -> Evidence:
    request = Request(check.probe, check.request.parameters)
    digest = evidence_digest(request, "1", "", facts)
    return Evidence(request.probe, "1", request.parameters, at, 1, "", facts, digest)


def a_verdict(
    state: CheckState = PASS,
    check: CheckSpec = CHECKS[0],
    evidence: Sequence[Evidence] | None = None,
    reason: str = "",
) -> Finding:
    pieces = (a_piece(check),) if evidence is None else evidence
    return Finding(
        kind=FindingKind.COMPLIANCE,
        activity=Activity.CREATE,
        disposition=Disposition.SIGNAL,
        severity=Severity.INFORMATIONAL,
        confidence=100,
        title=check.title,
        key=b"k" * 16,
        rule=Rule(id=check.id),
        source=Source("posture", "files", ""),
        event_time=NOW,
        event_precision=Precision.POLL,
        observed_at=NOW,
        check=Check(
            id=check.id,
            version=str(check.version),
            state=state,
            reason=reason,
            evidence=tuple(piece.digest for piece in pieces),
            max_age=1,
            interval=1,
        ),
    )


def a_digest(state: CheckState = PASS, at: int = NOW) -> list[Record]:
    """What an agent sends once a day: evidence, then every verdict."""
    pieces = {check.id: a_piece(check, at=at) for check in CHECKS}
    return [*pieces.values(), *(a_verdict(state, check, [pieces[check.id]]) for check in CHECKS)]


class Memory(sqlite3.Connection):
    """A database in memory that is closed with its last user, by whichever thread collects it."""

    def __del__(self) -> None:
        self.close()


def a_database() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", factory=Memory, check_same_thread=False)
    db.executescript(SCHEMA)
    return db


class Ledger:
    """A projection over an empty database, and the batches it was given."""

    def __init__(self, projection: ComplyProjection | None = None) -> None:
        self.projection = projection or ComplyProjection(a_catalogue())
        self.db = a_database()
        self.batches: list[AdmittedBatch] = []

    def take(
        self,
        *records: Record,
        host: bytes = HOST,
        received: int | None = None,
        seq: int | None = None,
        epoch: bytes = EPOCH,
        trusted: bool = True,
        derived: bool = False,
    ) -> "Ledger":
        position = len(self.batches) + 1
        number = seq or position
        batch = AdmittedBatch(
            tenant=TENANT,
            position=position,
            agent=AgentId(host),
            received=NOW + position if received is None else received,
            header=a_header(seq=number, agent=host, epoch=epoch, records=len(records)),
            records=tuple(
                Admitted(RecordRef(host, epoch, number, index), record)
                for index, record in enumerate(records)
            ),
            trusted=trusted,
            derived=derived,
        )
        return self.give(batch)

    def give(self, batch: AdmittedBatch) -> "Ledger":
        self.batches.append(batch)
        assert not self.projection.apply(self.db, batch)
        self.db.commit()
        return self

    def tick(self, now: int) -> Sequence[Record]:
        return self.projection.tick(self.db, TENANT, now)

    def dump(self) -> list[str]:
        return list(self.db.iterdump())


def rebuilt(batches: Iterable[AdmittedBatch]) -> Ledger:
    ledger = Ledger()
    for batch in batches:
        ledger.give(batch)
    return ledger


def later(record: Finding, state: CheckState) -> Finding:
    assert record.check is not None
    return structs.replace(record, check=structs.replace(record.check, state=state))
