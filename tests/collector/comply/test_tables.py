from collector.comply import tables
from proto.model import CheckState, RecordRef
from tests.collector.builders import EPOCH, NOW
from tests.collector.comply.builders import (
    CHECKS,
    FAIL,
    HOST,
    OTHER,
    PASS,
    UNKNOWN,
    a_database,
    a_piece,
)


def a_said(state: CheckState = PASS, seq: int = 1, rank: int = 0, index: int = 0) -> tables.Said:
    ref = RecordRef(HOST, EPOCH, seq, index)
    return tables.Said(ref, rank, CHECKS[0].id, state, "", "1", (a_piece().digest,))


def test_epochs_of_a_host_are_ranked_as_they_first_appear() -> None:
    db = a_database()

    ranks = [
        tables.rank_of(db, host, epoch)
        for host, epoch in [(HOST, b"b"), (HOST, b"a"), (OTHER, b"a"), (HOST, b"b"), (HOST, b"c")]
    ]

    assert ranks == [0, 1, 0, 0, 2]


def test_a_verdict_is_replaced_only_by_one_sealed_later() -> None:
    db = a_database()

    changes = [
        tables.keep_verdict(db, said)
        for said in (
            a_said(PASS, seq=5),
            a_said(FAIL, seq=4),
            a_said(PASS, seq=5, index=1),
            a_said(FAIL, seq=1, rank=1),
            a_said(PASS, seq=900, rank=0),
        )
    ]

    kept = max(tables.statements(db), key=lambda statement: statement.order)
    assert changes == [True, False, False, True, False]
    assert (kept.state, kept.order) == (FAIL, (1, 1, 0))


def test_not_knowing_is_kept_beside_what_was_known() -> None:
    db = a_database()

    changes = [
        tables.keep_verdict(db, said)
        for said in (a_said(FAIL, 1), a_said(UNKNOWN, 2), a_said(UNKNOWN, 3), a_said(FAIL, 4))
    ]

    assert changes == [True, True, False, True]
    assert {kept.state for kept in tables.statements(db)} == {FAIL, UNKNOWN}


def test_a_host_is_new_once_and_news_again_when_trust_in_it_changes() -> None:
    db = a_database()

    news = [
        tables.keep_host(db, HOST, (position, NOW + position), trusted=trusted)
        for position, trusted in enumerate([True, True, False, False, True])
    ]

    assert news == [True, False, True, False, True]
    assert tables.population(db)[HOST].trusted
    assert tables.first_received(db) == NOW


def test_evidence_seen_again_is_fresher_and_never_older() -> None:
    db = a_database()
    tables.keep_verdict(db, a_said())

    news = [
        tables.keep_evidence(db, HOST, [a_piece(at=NOW + age)], NOW + 100) for age in (5, 9, 2, 500)
    ]

    assert news == [True, False, False, False]
    assert tables.statements(db)[0].at == NOW + 100


def test_sources_are_the_first_by_place_of_the_checks_wanted() -> None:
    db = a_database()
    tables.keep_verdict(db, a_said(PASS, seq=3))
    tables.keep_verdict(db, a_said(UNKNOWN, seq=2))

    assert [ref.seq for ref in tables.sources(db, [CHECKS[0].id], 9)] == [2, 3]
    assert [ref.seq for ref in tables.sources(db, [CHECKS[0].id], 1)] == [2]
    assert tables.sources(db, [CHECKS[1].id], 9) == ()


def test_an_empty_database_answers() -> None:
    db = a_database()

    assert tables.newest(db) == tables.changed(db) == tables.first_received(db) == 0
    assert tables.population(db) == {}
    assert tables.last_stated(db, "soc2", "x", b"") is None
