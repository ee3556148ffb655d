from msgspec import structs

from certs.identity import AgentId
from collector.comply import queries
from collector.comply.projection import ComplyProjection, ComplySettings
from collector.comply.score import Readiness
from collector.comply.tables import SCHEMA
from collector.ports import LiveProjection
from proto.model import CheckState, FindingKind, Record, Score
from runtime.clock import NS_PER_S
from tests.collector.builders import NOW
from tests.collector.comply.builders import (
    CHECKS,
    DAY,
    EXEMPT,
    FAIL,
    HOST,
    OTHER,
    PASS,
    UNKNOWN,
    Ledger,
    a_catalogue,
    a_digest,
    a_piece,
    a_verdict,
    later,
    rebuilt,
)

SOON = NOW + 60 * NS_PER_S


def reading(ledger: Ledger, now: int = SOON) -> Readiness:
    return queries.readings(ledger.db, now, a_catalogue())[2]


def stated(ledger: Ledger, now: int) -> list[Score]:
    return [record for record in ledger.tick(now) if isinstance(record, Score)]


def test_a_digest_of_passes_with_their_evidence_scores_whole() -> None:
    found = reading(Ledger().take(*a_digest()))

    assert (found.score, found.coverage, found.upper) == (1.0, 1.0, 1.0)
    assert (found.hosts, found.hosts_reporting) == (1, 1)


def test_a_pass_counts_only_once_its_evidence_is_there() -> None:
    ledger = Ledger().take(a_verdict())
    assert reading(ledger).no_evidence

    ledger.take(a_piece())

    assert reading(ledger).score > 0


def test_evidence_that_is_not_what_its_digest_names_proves_nothing() -> None:
    forged = structs.replace(a_piece(), facts=b'{"mode":"0600"}')

    assert reading(Ledger().take(forged, a_verdict())).no_evidence


def test_a_pass_that_names_no_evidence_is_none() -> None:
    assert reading(Ledger().take(a_verdict(evidence=[]))).no_evidence


def test_a_pass_needs_all_the_evidence_it_names() -> None:
    other = a_piece(CHECKS[1])

    ledger = Ledger().take(a_piece(), a_verdict(evidence=[a_piece(), other]))

    assert reading(ledger).no_evidence


def test_evidence_of_one_host_does_not_prove_a_pass_of_another() -> None:
    ledger = Ledger().take(a_piece(), host=OTHER).take(a_verdict(), host=HOST)

    assert reading(ledger).no_evidence


def test_age_is_that_of_the_evidence_and_not_of_the_word() -> None:
    old: list[Record] = [a_piece(at=NOW - 6 * DAY), a_verdict()]

    aged = reading(Ledger().take(*old))
    fresh = reading(Ledger().take(*old, a_piece()))

    assert 0 < aged.score < fresh.score


def test_evidence_is_never_taken_for_newer_than_when_it_came() -> None:
    ledger = Ledger().take(a_piece(at=NOW + 300 * DAY), a_verdict(), received=NOW)

    assert reading(ledger, NOW).score > 0
    assert reading(ledger, NOW + 8 * DAY).score == 0


def test_where_two_words_differ_the_one_sealed_later_counts_whichever_came_first() -> None:
    newer = later(a_verdict(), FAIL)
    ledger = Ledger().take(a_piece(), newer, seq=9).take(a_verdict(), seq=4)

    assert reading(ledger).hosts_failing == 1


def test_a_late_batch_of_an_earlier_epoch_changes_nothing() -> None:
    ledger = Ledger().take(epoch=b"1" * 16, seq=1).take(a_piece(), later(a_verdict(), FAIL), seq=1)

    ledger.take(a_piece(), a_verdict(), epoch=b"1" * 16, seq=700)

    assert reading(ledger).hosts_failing == 1


def test_a_batch_taken_twice_is_as_if_taken_once() -> None:
    once, twice = Ledger(), Ledger()
    once.take(*a_digest())
    twice.take(*a_digest())

    twice.projection.apply(twice.db, once.batches[0])

    assert twice.dump() == once.dump()


def test_only_verdicts_of_known_checks_are_kept() -> None:
    finding = a_verdict()
    assert finding.check is not None
    strange = structs.replace(finding, check=structs.replace(finding.check, id="linux.no.such"))
    detection = structs.replace(finding, kind=FindingKind.DETECTION)
    bare = structs.replace(finding, check=None)

    ledger = Ledger().take(a_piece(), strange, detection, bare)

    assert ledger.db.execute("select count(*) from verdicts").fetchone() == (0,)


def test_a_state_we_do_not_know_is_unknown() -> None:
    ledger = Ledger().take(a_piece(), later(a_verdict(), CheckState.UNSPECIFIED))

    assert reading(ledger).no_evidence


def test_a_host_in_quarantine_never_passes_not_even_by_what_it_said_before() -> None:
    ledger = Ledger().take(*a_digest())

    ledger.take(*a_digest(), trusted=False)

    assert reading(ledger).no_evidence
    assert {loss.reason for loss in queries.losses(ledger.db, "soc2", SOON)} == {"untrusted"}


def test_a_host_in_quarantine_cannot_mend_its_failures_but_can_show_new_ones() -> None:
    ledger = Ledger().take(*a_digest(FAIL)).take(*a_digest(PASS), trusted=False)
    assert reading(ledger).hosts_failing == 1
    assert reading(ledger).upper == 0

    other = Ledger().take(*a_digest(PASS)).take(*a_digest(FAIL), trusted=False)

    assert reading(other).hosts_failing == 1


def test_out_of_quarantine_the_next_word_counts_again() -> None:
    ledger = Ledger().take(*a_digest()).take(*a_digest(), trusted=False).take(*a_digest())

    assert reading(ledger).score == 1.0


def test_an_exemption_needs_evidence_too() -> None:
    proven = Ledger().take(*a_digest(EXEMPT))
    claimed = Ledger().take(*(a_verdict(EXEMPT, check, []) for check in CHECKS))

    assert {item.state for item in reading(proven).items if item.checks} >= {EXEMPT}
    assert EXEMPT not in {item.state for item in reading(claimed).items}


def test_a_host_that_enrolled_and_never_spoke_lowers_the_score() -> None:
    ledger = Ledger().take(*a_digest())

    ledger.projection.set_inventory(ledger.db, [AgentId(HOST), AgentId(OTHER)])

    found = reading(ledger)
    assert (found.hosts, found.hosts_reporting, found.score) == (2, 1, 0.5)


def test_a_host_that_spoke_stays_in_the_population_whatever_the_registry_says() -> None:
    ledger = Ledger().take(*a_digest()).take(*a_digest(FAIL), host=OTHER)

    ledger.projection.set_inventory(ledger.db, [AgentId(HOST)])

    assert reading(ledger).hosts == 2


def test_what_the_collector_sealed_itself_is_no_host_and_no_evidence() -> None:
    ledger = Ledger().take(*a_digest(), derived=True)

    assert reading(ledger).hosts == 0
    assert reading(ledger).no_evidence


def test_a_score_is_stated_once_verdicts_have_settled() -> None:
    ledger = Ledger().take(*a_digest(), received=NOW)
    assert stated(ledger, NOW + NS_PER_S) == []

    scores = stated(ledger, SOON)

    assert [(score.framework, score.edition) for score in scores] == [
        ("nist80053", "5.1.1"),
        ("iso27001", "2022"),
        ("soc2", "2017-2022"),
    ]
    assert {score.assured for score in scores} == {1.0}
    assert stated(ledger, SOON) == []


def test_a_score_carries_where_its_verdicts_lie() -> None:
    ledger = Ledger().take(*a_digest())

    (score, *_) = stated(ledger, SOON)

    assert len(score.sources) == len(CHECKS)
    assert {ref.agent for ref in score.sources} == {HOST}
    assert score.mapping_digest == a_catalogue().schemes[0].digest


def test_fresher_evidence_alone_states_nothing() -> None:
    ledger = Ledger().take(*a_digest(), received=NOW)
    stated(ledger, SOON)

    ledger.take(*a_digest(at=NOW + NS_PER_S), received=SOON)

    assert stated(ledger, SOON + 3600 * NS_PER_S) == []


def test_a_change_is_stated_after_a_pause() -> None:
    ledger = Ledger().take(*a_digest(), received=NOW)
    stated(ledger, SOON)
    ledger.take(a_piece(), later(a_verdict(), FAIL), received=SOON)

    assert stated(ledger, SOON + 10 * NS_PER_S) == []
    (score, *_) = stated(ledger, NOW + 301 * NS_PER_S)

    assert score.assured < 1
    assert score.as_of == SOON


def test_a_stream_of_changes_does_not_put_a_score_off_for_ever() -> None:
    ledger = Ledger(ComplyProjection(a_catalogue(), ComplySettings(10, 5)))
    ledger.take(*a_digest(), received=NOW)
    stated(ledger, NOW + 6 * NS_PER_S)
    moments = []

    for second in range(7, 130):
        now = NOW + second * NS_PER_S
        state = FAIL if second % 2 else PASS
        ledger.take(a_piece(), later(a_verdict(), state), received=now)
        if stated(ledger, now):
            moments.append(second)

    assert moments == [50, 100]


def test_a_quiet_tenant_states_its_scores_once_a_day_and_they_fall() -> None:
    ledger = Ledger().take(*a_digest(), received=NOW)
    seen = []

    for hour in range(1, 24 * 9):
        seen += stated(ledger, NOW + hour * 3600 * NS_PER_S)[2:]

    shares = [score.assured for score in seen]
    assert len(seen) == 1 + 9
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == (1.0, 0.0)


def test_a_new_host_in_the_registry_is_a_change() -> None:
    ledger = Ledger().take(*a_digest(), received=NOW)
    stated(ledger, SOON)
    ledger.projection.set_inventory(ledger.db, [AgentId(HOST), AgentId(OTHER)])

    (score, *_) = stated(ledger, NOW + 400 * NS_PER_S)

    assert (score.hosts, score.assured) == (2, 0.5)


def test_a_tenant_of_silent_hosts_states_that_there_is_no_evidence() -> None:
    ledger = Ledger()
    assert stated(ledger, NOW) == []
    ledger.projection.set_inventory(ledger.db, [AgentId(HOST)])

    scores = stated(ledger, NOW)

    assert [(score.assured, score.coverage, score.evidenced) for score in scores] == [(0, 0, 0)] * 3
    assert {score.hosts for score in scores} == {1}


def test_the_same_inputs_state_the_same_record_again() -> None:
    one = Ledger().take(*a_digest())
    two = rebuilt(one.batches)

    assert stated(one, SOON) == stated(two, SOON + 5 * NS_PER_S)


def test_after_a_restart_what_was_sealed_is_not_stated_again() -> None:
    ledger = Ledger().take(*a_digest())
    scores = stated(ledger, SOON)
    ledger.take(*scores, host=b"\x09" * 16, derived=True)

    ledger.projection = ComplyProjection(a_catalogue())

    assert stated(ledger, SOON + 600 * NS_PER_S) == []
    assert len(stated(ledger, NOW + DAY)) == 3


def test_a_clock_set_back_states_nothing_and_hides_nothing() -> None:
    ledger = Ledger().take(*a_digest())
    stated(ledger, SOON)

    assert stated(ledger, NOW - 30 * DAY) == []
    assert reading(ledger, NOW - 30 * DAY).score == 1.0


def a_history() -> Ledger:
    ledger = Ledger()
    for day in range(4):
        at = NOW + day * DAY
        for host in (HOST, OTHER):
            state = FAIL if (day + host[0]) % 3 else PASS
            ledger.take(*a_digest(state, at), host=host, received=at + NS_PER_S)
        ledger.take(later(a_verdict(), UNKNOWN), received=at + 2 * NS_PER_S, trusted=day != 2)
        scores: list[Record] = list(ledger.tick(at + 3600 * NS_PER_S))
        ledger.take(*scores, host=b"\x09" * 16, received=at + 3601 * NS_PER_S, derived=True)
    return ledger


def test_built_again_from_the_ledger_it_is_the_same() -> None:
    ledger = a_history()

    again = rebuilt(ledger.batches)

    assert again.dump() == ledger.dump()
    now = NOW + 5 * DAY
    assert queries.readings(again.db, now) == queries.readings(ledger.db, now)


def test_tenants_do_not_touch_each_other() -> None:
    alone = Ledger().take(*a_digest())
    beside = Ledger(alone.projection).take(*a_digest(FAIL))

    assert reading(alone).score == 1.0
    assert reading(beside).score == 0.0


def test_a_host_cannot_fill_the_tenants_disk_with_evidence() -> None:
    ledger = Ledger()
    for batch in range(10):
        pieces = [
            a_piece(facts=b'{"n":%d}' % (batch * 250 + n), at=NOW + batch) for n in range(250)
        ]
        ledger.take(*pieces)

    (count,) = ledger.db.execute("select count(*) from evidence").fetchone()

    assert count == 2048


def test_it_is_a_live_projection() -> None:
    projection: LiveProjection = ComplyProjection(a_catalogue())

    assert (projection.name, projection.schema) == ("comply", SCHEMA)
