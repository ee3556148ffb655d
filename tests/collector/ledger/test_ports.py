"""The laws of the ledger, kept by every adapter."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.ledger.chain import AHEAD_BATCHES_MAX, Verdict
from collector.ledger.files import TenantFiles
from collector.ledger.ports import Ledger, Mark, Outcome, OwnLedger, OwnPlace, SealedBatch
from collector.ledger.sqlite import SqliteLedger
from proto import model
from tests.collector.sealing import NOW, OTHER_TENANT, TENANT, AnAgent
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import MemoryLedger


class FullLedger(Ledger, OwnLedger):
    """What the two adapters under test are."""


@pytest.fixture(params=["sqlite", "memory"])
def make(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], SqliteLedger | MemoryLedger]]:
    """Makes empty ledgers."""
    made: list[SqliteLedger] = []

    def ledger() -> SqliteLedger | MemoryLedger:
        random = Random(len(made)).randbytes
        if request.param == "memory":
            return MemoryLedger(random)
        root = tmp_path / str(len(made))
        root.mkdir()
        made.append(SqliteLedger(TenantFiles(root), FakeClock(), random))
        return made[-1]

    yield ledger
    for one in made:
        one.close()


@pytest.fixture
def ledger(make: Callable[[], SqliteLedger | MemoryLedger]) -> SqliteLedger | MemoryLedger:
    return make()


def positions(ledger: Ledger) -> list[tuple[int, bytes]]:
    kept = ledger.read(TENANT, 0, 10_000, 1 << 40)
    return [(one.position, one.header_hash) for one in kept]


def verdicts(outcomes: Sequence[Outcome]) -> list[Verdict | None]:
    return [one.verdict for one in outcomes]


def test_what_was_appended_is_read_back_byte_for_byte_in_order(ledger: Ledger) -> None:
    agent = AnAgent()
    batches = [agent.seal([b"record %d" % n]) for n in range(5)]

    outcomes = ledger.append(TENANT, batches)

    kept = ledger.read(TENANT, 0, 100, 1 << 30)
    assert verdicts(outcomes) == [Verdict.ACCEPT] * 5
    assert [one.position for one in kept] == [1, 2, 3, 4, 5]
    for one, batch in zip(kept, batches, strict=True):
        assert (one.header, one.signature, one.body) == (
            batch.header_bytes,
            batch.signature,
            batch.body,
        )
        assert (one.header_hash, one.received) == (batch.header_hash, NOW)


def test_appending_again_changes_nothing_and_says_the_same(ledger: Ledger) -> None:
    agent = AnAgent()
    batches = [agent.seal() for _ in range(3)]
    first = ledger.append(TENANT, batches)

    again = ledger.append(TENANT, [*batches, *batches])

    assert verdicts(again) == [Verdict.DUPLICATE] * 6
    assert {one.head for one in again} == {first[-1].head}
    assert len(positions(ledger)) == 3


def test_no_tenant_sees_another(ledger: Ledger) -> None:
    ledger.append(TENANT, [AnAgent().seal()])

    stranger = AnAgent(tenant=OTHER_TENANT)
    outcome = ledger.append(OTHER_TENANT, [stranger.seal()])[0]

    assert outcome.verdict is Verdict.ACCEPT
    assert [one.header for one in ledger.read(OTHER_TENANT, 0, 9, 1)] != [
        one.header for one in ledger.read(TENANT, 0, 9, 1)
    ]
    assert ledger.generation(TENANT) != ledger.generation(OTHER_TENANT)
    assert ledger.heads(OTHER_TENANT, AnAgent("third").id, 9) == []


def test_the_head_covers_what_is_whole_and_names_what_is_ahead(ledger: Ledger) -> None:
    agent = AnAgent()
    one, two, three, four = (agent.seal() for _ in range(4))

    head = ledger.append(TENANT, [one, four, three])[-1].head

    assert (head.seq, head.header_hash, head.wanted) == (1, one.header_hash, 2)
    assert [(a.seq, a.header_hash) for a in head.ahead] == [
        (3, three.header_hash),
        (4, four.header_hash),
    ]
    assert ledger.append(TENANT, [two])[0].head.header_hash == four.header_hash


def test_a_fork_is_kept_beside_the_first_and_the_chain_goes_on(ledger: Ledger) -> None:
    agent = AnAgent()
    first = agent.seal()
    twin = agent.twin()
    second, forked = agent.seal([b"a"]), twin.seal([b"b"])
    ledger.append(TENANT, [first, second])

    outcome, after, again = ledger.append(TENANT, [forked, agent.seal(), forked])

    assert (outcome.verdict, again.verdict) == (Verdict.FORK, Verdict.FORK)
    assert outcome.beside == model.SeqHash(seq=2, header_hash=forked.header_hash)
    assert after.verdict is Verdict.ACCEPT
    assert forked.header_hash not in [digest for _, digest in positions(ledger)]
    assert verdicts(ledger.append(TENANT, [twin.seal()])) == [Verdict.FORK]


def test_a_second_signature_over_one_header_is_a_fork(ledger: Ledger) -> None:
    agent = AnAgent()
    batch = agent.seal()
    ledger.append(TENANT, [batch])

    resigned = SealedBatch(
        **{name: getattr(batch, name) for name in batch.__struct_fields__ if name != "signature"},
        signature=b"s" * 64,
    )

    assert verdicts(ledger.append(TENANT, [resigned])) == [Verdict.FORK]


def test_restart_rollback_and_loss_of_state_are_told_apart(ledger: Ledger) -> None:
    agent = AnAgent()
    ledger.append(TENANT, [agent.seal(), agent.seal()])
    early = agent.twin()
    agent.start()
    restart = agent.seal()
    early.seq, early.previous = 1, b"x" * 32
    early.start()
    rollback = early.seal()
    lost = agent.twin()
    lost.start(model.EpochStart(reason=model.EpochReason.STATE_LOSS))

    outcomes = ledger.append(TENANT, [restart, rollback, lost.seal()])

    assert verdicts(outcomes) == [Verdict.ACCEPT, Verdict.ROLLBACK, Verdict.STATE_LOSS]
    assert len(positions(ledger)) == 5


def test_a_history_may_begin_with_any_of_its_batches(ledger: Ledger) -> None:
    """The urgent ones go ahead, also on the first day."""
    agent = AnAgent()
    first, second, urgent = (agent.seal() for _ in range(3))

    outcomes = ledger.append(TENANT, [urgent, first, second])

    assert verdicts(outcomes) == [Verdict.HOLE, Verdict.ACCEPT, Verdict.ACCEPT]


def test_the_first_epoch_may_arrive_after_the_one_that_follows_it(ledger: Ledger) -> None:
    agent = AnAgent()
    first = agent.seal()
    agent.start()
    later = agent.seal()
    agent.start(model.EpochStart(reason=model.EpochReason.STATE_LOSS))

    outcomes = ledger.append(TENANT, [later, first, agent.seal()])

    assert verdicts(outcomes) == [Verdict.STATE_LOSS, Verdict.ACCEPT, Verdict.STATE_LOSS]


def test_an_epoch_may_arrive_before_the_end_of_the_one_it_follows(ledger: Ledger) -> None:
    agent = AnAgent()
    first, second = agent.seal(), agent.seal()
    agent.start()
    urgent = agent.seal()

    outcomes = ledger.append(TENANT, [first, urgent, second])

    assert verdicts(outcomes) == [Verdict.ACCEPT, Verdict.HOLE, Verdict.ACCEPT]


def test_an_epoch_that_was_followed_cannot_go_on(ledger: Ledger) -> None:
    agent = AnAgent()
    first = agent.seal()
    twin = agent.twin()
    agent.start()
    ledger.append(TENANT, [first, agent.seal()])

    assert verdicts(ledger.append(TENANT, [twin.seal()])) == [Verdict.ROLLBACK]


def test_the_end_a_later_epoch_names_is_the_only_one_accepted(ledger: Ledger) -> None:
    agent = AnAgent()
    first = agent.seal()
    twin = agent.twin()
    agent.seal([b"mine"])
    agent.start()
    ledger.append(TENANT, [first, agent.seal()])

    assert verdicts(ledger.append(TENANT, [twin.seal([b"theirs"])])) == [Verdict.FORK]


def a_drop(batches: list[SealedBatch]) -> model.DroppedRange:
    first, last = batches[0], batches[-1]
    return model.DroppedRange(
        reason=model.DropReason.EVICTED,
        epoch=first.header.epoch,
        first_seq=first.header.seq,
        last_seq=last.header.seq,
        last_header_hash=last.header_hash,
        batches=len(batches),
        records=0,
    )


def test_a_signed_drop_closes_a_hole(ledger: Ledger) -> None:
    agent = AnAgent()
    first, *gone = (agent.seal() for _ in range(4))
    after = agent.seal(dropped=(a_drop(gone),))

    outcomes = ledger.append(TENANT, [first, after])

    assert verdicts(outcomes) == [Verdict.ACCEPT, Verdict.ACCEPT]
    assert outcomes[1].head.seq == 5


def test_a_drop_declared_by_a_later_epoch_lets_it_follow(ledger: Ledger) -> None:
    agent = AnAgent()
    first, *gone = (agent.seal() for _ in range(4))
    ledger.append(TENANT, [first])
    agent.start()

    outcome = ledger.append(TENANT, [agent.seal(dropped=(a_drop(gone),))])[0]

    assert outcome.verdict is Verdict.ACCEPT
    assert [head.wanted for head in ledger.heads(TENANT, agent.id, 9)] == [2, 5]


def test_an_opening_cannot_vouch_for_a_parent_that_nobody_has_seen(ledger: Ledger) -> None:
    agent = AnAgent()
    ledger.append(TENANT, [agent.seal()])
    agent.start()
    unseen = [agent.seal(), agent.seal()]
    agent.start()

    outcome = ledger.append(TENANT, [agent.seal(dropped=(a_drop(unseen),))])[0]

    assert outcome.verdict is Verdict.STATE_LOSS


def test_a_drop_that_contradicts_what_is_kept_changes_nothing(ledger: Ledger) -> None:
    agent = AnAgent()
    first, second, third = (agent.seal() for _ in range(3))
    ledger.append(TENANT, [first, third])
    lie = model.DroppedRange(
        reason=model.DropReason.EVICTED,
        epoch=agent.epoch,
        first_seq=2,
        last_seq=2,
        last_header_hash=b"l" * 32,
        batches=1,
        records=0,
    )

    outcome = ledger.append(TENANT, [agent.seal(dropped=(lie,))])[0]

    assert outcome.head.wanted == 2
    assert ledger.append(TENANT, [second])[0].verdict is Verdict.ACCEPT


def test_beyond_the_bound_a_batch_is_not_kept_and_the_missing_one_still_is(
    ledger: Ledger,
) -> None:
    agent = AnAgent()
    first, second, *rest = (agent.seal() for _ in range(AHEAD_BATCHES_MAX + 3))
    ledger.append(TENANT, [first, *rest[:-1]])

    outcome = ledger.append(TENANT, [rest[-1]])[0]

    assert outcome.verdict is None
    assert outcome.head.wanted == 2
    assert ledger.append(TENANT, [second])[0].head.seq == AHEAD_BATCHES_MAX + 2


def test_a_closed_drop_frees_a_chain_that_is_full_beyond_its_hole(ledger: Ledger) -> None:
    agent = AnAgent()
    first, second, *rest = (agent.seal() for _ in range(AHEAD_BATCHES_MAX + 2))
    ledger.append(TENANT, [first, *rest])

    outcome = ledger.append(TENANT, [agent.seal(dropped=(a_drop([second]),))])[0]

    assert outcome.verdict is Verdict.ACCEPT
    assert outcome.head.wanted == AHEAD_BATCHES_MAX + 4


def test_reading_stops_at_the_limits_but_never_before_the_first(ledger: Ledger) -> None:
    agent = AnAgent()
    ledger.append(TENANT, [agent.seal([b"x" * 100]) for _ in range(4)])

    assert [one.position for one in ledger.read(TENANT, 1, 2, 1 << 30)] == [2, 3]
    assert [one.position for one in ledger.read(TENANT, 1, 9, 0)] == [2]
    assert ledger.read(TENANT, 4, 9, 9) == []


def test_own_batches_follow_each_other_and_a_mark_is_passed_once(ledger: OwnLedger) -> None:
    agent = AnAgent("own")

    def seal(at: OwnPlace) -> SealedBatch:
        assert (at.seq, at.previous) == (agent.seq + 1, agent.previous)
        return agent.seal()

    first = ledger.append_own(TENANT, agent.id, Mark("watch", 3, 9), seal)
    again = ledger.append_own(TENANT, agent.id, Mark("watch", 3, 9), seal)
    second = ledger.append_own(TENANT, agent.id, Mark("watch", 5, 12), seal)
    free = ledger.append_own(TENANT, agent.id, None, seal)

    assert again is None
    assert [one.head.seq for one in (first, second, free) if one] == [1, 2, 3]
    assert ledger.mark(TENANT, "watch") == Mark("watch", 5, 12)
    assert ledger.mark(TENANT, "other") == Mark("other", 0, 0)


Worlds = st.lists(
    st.one_of(
        st.tuples(st.just("seal"), st.integers(0, 1)),
        st.tuples(st.just("start"), st.integers(0, 1)),
        st.tuples(st.just("twin"), st.integers(0, 1)),
        st.tuples(st.just("lose"), st.integers(0, 1)),
    ),
    min_size=1,
    max_size=14,
)


@given(Worlds, st.lists(st.integers(0, 30), max_size=40), st.lists(st.integers(1, 4), max_size=12))
@settings(max_examples=40)
def test_both_adapters_say_the_same_of_any_history(
    tmp_path_factory: pytest.TempPathFactory,
    world: list[tuple[str, int]],
    arrivals: list[int],
    commits: list[int],
) -> None:
    """Drop, repeat, reorder, fork, restart, forget: in any order and any grouping."""
    sealed = seal_all(world)
    sent = [sealed[n % len(sealed)] for n in arrivals] if sealed else []
    root = tmp_path_factory.mktemp("ledger")
    real = SqliteLedger(TenantFiles(root), FakeClock(), Random(1).randbytes)
    model_ledger = MemoryLedger(Random(1).randbytes)

    try:
        for size in [*commits, *([3] * len(sent))]:
            group, sent = sent[:size], sent[size:]
            if group:
                found = real.append(TENANT, group)
                assert list(found) == list(model_ledger.append(TENANT, group))
        assert positions(real) == positions(model_ledger)
        reopened = SqliteLedger(TenantFiles(root), FakeClock(), Random(2).randbytes)
        again = sealed[:20]
        if again:
            assert list(reopened.append(TENANT, again)) == list(model_ledger.append(TENANT, again))
        reopened.close()
    finally:
        real.close()


def seal_all(world: list[tuple[str, int]]) -> list[SealedBatch]:
    agents = [AnAgent(0), AnAgent(1)]
    sealed = []
    for what, who in world:
        agent = agents[who]
        if what == "seal":
            sealed.append(agent.seal([b"r"]))
        elif what == "start" and agent.seq:
            agent.start()
        elif what == "lose":
            agent.start(model.EpochStart(reason=model.EpochReason.STATE_LOSS))
        elif what == "twin":
            sealed.append(agent.twin().seal([b"forged"]))
    return sealed
