import random
import sqlite3
from collections import defaultdict

import pytest

from certs.identity import AgentId
from collector.correlate.projection import CorrelateProjection
from collector.ports import AdmittedBatch
from proto.model import Incident, IncidentStatus, Record, Rule, Severity
from runtime.clock import NS_PER_S
from tests.collector.builders import NOW, TENANT, an_admitted_batch
from tests.proto.builders import a_finding

CORRELATE = CorrelateProjection()


def a_database() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.executescript(CORRELATE.schema)
    return db


def failed_logins(
    count: int, start: int = 0, step: int = NS_PER_S, **batch: object
) -> AdmittedBatch:
    findings = [
        a_finding(
            rule=Rule("login.failed"),
            severity=Severity.LOW,
            event_time=NOW + start * NS_PER_S + n * step,
        )
        for n in range(count)
    ]
    return an_admitted_batch(*findings, **batch)  # type: ignore[arg-type]


def incidents(records: object) -> list[Incident]:
    assert isinstance(records, tuple | list)
    return [record for record in records if isinstance(record, Incident)]


def test_enough_findings_on_a_host_become_one_incident() -> None:
    db = a_database()

    assert CORRELATE.apply(db, failed_logins(4)) == ()
    (incident,) = incidents(CORRELATE.apply(db, failed_logins(1, start=5, position=2)))

    assert incident.rule.id == "host.repeated-failed-logins"
    assert (incident.count, incident.revision, incident.status) == (5, 1, IncidentStatus.OPEN)
    assert len(incident.sources) == 5


def test_findings_of_two_hosts_are_never_added_up() -> None:
    db = a_database()

    CORRELATE.apply(db, failed_logins(4))
    other = failed_logins(4, position=2, agent=AgentId(b"\x02" * 16))

    assert CORRELATE.apply(db, other) == ()


def test_late_arrivals_complete_a_window_in_event_time() -> None:
    db = a_database()
    CORRELATE.apply(db, failed_logins(3, start=100))

    late = CORRELATE.apply(db, failed_logins(2, start=50, position=2))

    assert len(incidents(late)) == 1


def test_findings_too_far_apart_are_no_incident() -> None:
    db = a_database()
    for n in range(8):
        batch = failed_logins(1, start=n * 400, position=n + 1)

        assert CORRELATE.apply(db, batch) == ()


def test_an_incident_grows_by_revisions_and_closes_when_it_is_quiet() -> None:
    db = a_database()
    (first,) = incidents(CORRELATE.apply(db, failed_logins(5)))
    (second,) = incidents(CORRELATE.apply(db, failed_logins(5, start=20, position=2)))
    assert CORRELATE.tick(db, TENANT, NOW + 30 * NS_PER_S) == []
    (closed,) = incidents(CORRELATE.tick(db, TENANT, NOW + 1000 * NS_PER_S))

    assert [i.revision for i in (first, second, closed)] == [1, 2, 3]
    assert {i.uid for i in (first, second, closed)} == {first.uid}
    assert closed.status is IncidentStatus.CLOSED
    assert CORRELATE.tick(db, TENANT, NOW + 2000 * NS_PER_S) == []


def test_an_incident_stays_open_while_it_grows_too_slowly_to_be_told() -> None:
    db = a_database()
    CORRELATE.apply(db, failed_logins(60))
    for n in range(1, 11):
        trickle = failed_logins(1, start=60 + n * 50, position=n + 1)
        assert CORRELATE.apply(db, trickle) == ()
        assert CORRELATE.tick(db, TENANT, NOW + (110 + n * 50) * NS_PER_S) == []

    (closed,) = incidents(CORRELATE.tick(db, TENANT, NOW + 2000 * NS_PER_S))

    assert closed.last == NOW + (60 + 10 * 50) * NS_PER_S
    assert closed.count == 70


def test_a_flood_is_counted_to_the_last_finding_and_told_a_dozen_times() -> None:
    db = a_database()
    told: list[Incident] = []
    for n in range(40):
        told += incidents(
            CORRELATE.apply(db, failed_logins(200, start=n, position=n + 1, step=5_000_000))
        )

    (closed,) = incidents(CORRELATE.tick(db, TENANT, NOW + 2000 * NS_PER_S))

    assert len(told) <= 12
    assert (closed.count, closed.sources_omitted) == (8000, 8000 - 256)
    assert closed.last > NOW + 39 * NS_PER_S


def test_two_bursts_in_one_batch_are_two_incidents() -> None:
    db = a_database()
    findings = [*failed_logins(5).records, *failed_logins(5, start=700).records]

    told = incidents(CORRELATE.apply(db, an_admitted_batch(*(f.record for f in findings))))

    assert sorted(one.count for one in told) == [5, 5]
    assert len({one.uid for one in told}) == 2


def test_a_new_burst_after_the_close_is_another_incident() -> None:
    db = a_database()
    (first,) = incidents(CORRELATE.apply(db, failed_logins(5)))
    CORRELATE.tick(db, TENANT, NOW + 1000 * NS_PER_S)
    (second,) = incidents(CORRELATE.apply(db, failed_logins(5, start=2000, position=2)))

    assert first.uid != second.uid
    assert second.revision == 1


def test_neither_quarantined_nor_derived_batches_make_incidents() -> None:
    db = a_database()

    assert CORRELATE.apply(db, failed_logins(9, trusted=False)) == ()
    assert CORRELATE.apply(db, failed_logins(9, derived=True, position=2)) == ()


def test_different_detections_on_one_host_are_an_incident_of_high_severity() -> None:
    db = a_database()
    batch = an_admitted_batch(
        a_finding(rule=Rule("indicator.sha256")),
        a_finding(rule=Rule("indicator.sha256")),
        a_finding(rule=Rule("indicator.ipv4")),
    )

    (incident,) = incidents(CORRELATE.apply(db, batch))

    assert incident.severity is Severity.HIGH


def test_the_same_batches_give_the_same_incidents_and_the_same_dump() -> None:
    batches = [failed_logins(3, start=n * 10, position=n + 1) for n in range(6)]

    def run() -> tuple[list[Record], list[str]]:
        db = a_database()
        told = [record for batch in batches for record in CORRELATE.apply(db, batch)]
        return told, list(db.iterdump())

    assert run() == run()


class Worker:
    """A ledger to which hosts and the worker write, the worker behind them by some batches."""

    def __init__(self, moments: random.Random) -> None:
        self.db = a_database()
        self.ledger: list[AdmittedBatch] = []
        self._moments = moments
        self._applied = 0
        self._unsealed: list[Record] = []

    def send(self, count: int, start: int) -> None:
        self.ledger.append(failed_logins(count, start=start, position=len(self.ledger) + 1))

    def apply(self, batches: int) -> None:
        for batch in self.ledger[self._applied : self._applied + batches]:
            self._unsealed += CORRELATE.apply(self.db, batch)
            self._applied += 1

    def tick(self) -> None:
        self._unsealed += CORRELATE.tick(self.db, TENANT, NOW + 10**5 * NS_PER_S)

    def seal(self) -> None:
        if self._unsealed:
            position = len(self.ledger) + 1
            sealed = an_admitted_batch(*self._unsealed, derived=True, position=position)
            self.ledger.append(sealed)
            self._unsealed = []

    def step(self, number: int) -> None:
        self.send(self._moments.randint(1, 12), start=number * 40)
        self.apply(self._moments.choice((0, 0, 1, 2, 9)))
        if self._moments.random() < 0.15:
            self.tick()
        if self._moments.random() < 0.7:
            self.seal()

    def finish(self) -> None:
        for _ in range(20):
            self.apply(len(self.ledger))
            self.tick()
            self.seal()
        assert self._applied == len(self.ledger)
        assert self.db.execute("SELECT count(*) FROM closing").fetchone() == (0,)

    def rebuilt(self) -> sqlite3.Connection:
        db = a_database()
        for batch in self.ledger:
            CORRELATE.apply(db, batch)
        return db


@pytest.mark.parametrize("seed", range(40))
def test_a_rebuild_follows_what_was_sealed_however_far_behind_the_worker_was(seed: int) -> None:
    worker = Worker(random.Random(seed))
    for number in range(120):
        worker.step(number)
    worker.finish()

    assert list(worker.rebuilt().iterdump()) == list(worker.db.iterdump())
    told = [a.record for batch in worker.ledger if batch.derived for a in batch.records]
    revisions: dict[bytes, list[int]] = defaultdict(list)
    for incident in incidents(told):
        revisions[incident.uid].append(incident.revision)
    assert all(found == list(range(1, len(found) + 1)) for found in revisions.values())
