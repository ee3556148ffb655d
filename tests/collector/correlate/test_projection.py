import sqlite3

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
