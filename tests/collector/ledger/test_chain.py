"""The judge of histories, against tables and against a model of a lossy, lying world."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import TooFarAhead
from collector.ledger.chain import (
    AHEAD_BATCHES_MAX,
    Around,
    Chain,
    Lost,
    Parent,
    Place,
    Signed,
    Verdict,
    check_header,
    declare,
    judge_opening,
    judge_order,
    judge_place,
    place,
    quarantines,
)
from proto import model
from proto.errors import Malformed
from tests.collector.sealing import a_header


def hash_of(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def a_chain(last: int, *, ahead: tuple[int, ...] = ()) -> Chain:
    chain = Chain()
    for seq in (*range(1, last + 1), *ahead):
        chain = place(chain, Place(seq, hash_of(seq)))
    return chain


def the_next(seq: int, previous: bytes | None = None) -> model.Header:
    return a_header(seq=seq, previous=hash_of(seq - 1) if previous is None else previous)


def judge(chain: Chain, header: model.Header, sealed: Signed, around: Around) -> Verdict:
    return judge_place(header, sealed, around) or judge_order(chain, header.seq)


def judged(chain: Chain, seq: int, around: Around, **how: bytes) -> Verdict:
    header = the_next(seq, how.get("previous"))
    return judge(chain, header, Signed(how.get("hash", hash_of(seq)), b"sig"), around)


def test_the_next_batch_is_accepted_and_moves_the_head() -> None:
    chain = a_chain(4)

    verdict = judged(chain, 5, Around(before=chain.head.hash))

    assert verdict is Verdict.ACCEPT
    assert place(chain, Place(5, hash_of(5))) == a_chain(5)


def test_the_same_header_and_signature_again_is_a_duplicate() -> None:
    kept = Signed(hash_of(3), b"sig")

    assert judged(a_chain(4), 3, Around(at=kept)) is Verdict.DUPLICATE


@pytest.mark.parametrize("kept", [Signed(hash_of("other"), b"sig"), Signed(hash_of(3), b"other")])
def test_another_header_or_signature_in_a_taken_place_is_a_fork(kept: Signed) -> None:
    assert judged(a_chain(4), 3, Around(at=kept)) is Verdict.FORK


def test_a_batch_that_names_another_predecessor_is_a_fork() -> None:
    around = Around(before=hash_of("other"))

    assert judged(a_chain(4), 5, around) is Verdict.FORK


def test_a_batch_that_its_kept_successor_does_not_name_is_a_fork() -> None:
    around = Around(expected=hash_of("other"))

    assert judged(a_chain(4, ahead=(7,)), 6, around) is Verdict.FORK


def test_a_batch_beyond_a_missing_one_is_a_hole_and_kept_ahead() -> None:
    chain = a_chain(4)

    verdict = judged(chain, 7, Around())

    assert verdict is Verdict.HOLE
    assert place(chain, Place(7, hash_of(7))).head.seq == 4


def test_what_filled_the_hole_brings_the_head_up_to_all_that_is_kept() -> None:
    chain = a_chain(4, ahead=(6, 7, 9))

    filled = place(chain, Place(5, hash_of(5)))

    assert filled.head == filled.kept == Place(7, hash_of(7))
    assert [kept.seq for kept in filled.ahead] == [9]


def test_a_declared_loss_closes_a_hole_but_is_not_receipted_as_kept() -> None:
    chain = a_chain(4, ahead=(9,))

    closed = declare(chain, Lost(5, 8, hash_of(8)))

    assert closed.head == closed.kept == Place(9, hash_of(9))
    assert declare(a_chain(4), Lost(5, 8, hash_of(8))).kept == Place(4, hash_of(4))
    assert declare(a_chain(4), Lost(5, 8, hash_of(8))).head == Place(8, hash_of(8))


def test_a_batch_that_was_declared_lost_and_comes_after_all_is_accepted() -> None:
    chain = declare(a_chain(4), Lost(5, 8, hash_of(8)))

    verdict = judged(chain, 6, Around())

    assert verdict is Verdict.ACCEPT
    assert place(chain, Place(6, hash_of(6))).kept == Place(6, hash_of(6))


def test_an_epoch_that_was_continued_elsewhere_may_not_go_on() -> None:
    chain = Chain(head=Place(4, hash_of(4)), kept=Place(4, hash_of(4)), end=Place(4, hash_of(4)))

    assert judged(chain, 5, Around(before=hash_of(4))) is Verdict.ROLLBACK


def test_no_more_is_kept_beyond_a_hole_than_a_receipt_can_name() -> None:
    chain = a_chain(1, ahead=tuple(range(3, 3 + AHEAD_BATCHES_MAX)))

    with pytest.raises(TooFarAhead, match="batch 2"):
        judged(chain, 5000, Around())
    assert judged(chain, 2, Around(before=hash_of(1), expected=hash_of(2))) is Verdict.ACCEPT


def opening(seq: int | None = None, digest: bytes | None = None) -> model.EpochStart:
    if seq is None:
        return model.EpochStart(reason=model.EpochReason.STATE_LOSS)
    return model.EpochStart(
        reason=model.EpochReason.CLEAN_START,
        parent_epoch=b"p" * 16,
        parent_seq=seq,
        parent_hash=digest or hash_of(seq),
    )


def parent(chain: Chain, at: int) -> Parent:
    return Parent(chain=chain, at=hash_of(at) if at <= chain.top.seq else None)


OPENINGS = {
    "the agent's first epoch": (None, None, True, Verdict.ACCEPT),
    "no parent though others are known": (opening(), None, False, Verdict.STATE_LOSS),
    "no opening though others are known": (None, None, False, Verdict.STATE_LOSS),
    "a parent that is not known": (opening(4), None, False, Verdict.STATE_LOSS),
    "a parent at the head": (opening(4), parent(a_chain(4), 4), False, Verdict.ACCEPT),
    "a parent at the end of what is kept ahead": (
        opening(6),
        parent(a_chain(4, ahead=(6,)), 6),
        False,
        Verdict.ACCEPT,
    ),
    "a parent still to come": (opening(9), parent(a_chain(4), 9), False, Verdict.HOLE),
    "a parent behind the head": (opening(3), parent(a_chain(4), 3), False, Verdict.ROLLBACK),
    "a parent behind what is kept ahead": (
        opening(4),
        parent(a_chain(4, ahead=(6,)), 4),
        False,
        Verdict.ROLLBACK,
    ),
    "another header at the head": (
        opening(4, hash_of("other")),
        parent(a_chain(4), 4),
        False,
        Verdict.ROLLBACK,
    ),
    "a parent that another epoch follows": (
        opening(4),
        Parent(chain=Chain(head=Place(4, hash_of(4)), end=Place(4, hash_of(4))), at=hash_of(4)),
        False,
        Verdict.ROLLBACK,
    ),
}


@pytest.mark.parametrize("case", OPENINGS.values(), ids=OPENINGS.keys())
def test_a_new_epoch_is_judged_by_what_it_follows(
    case: tuple[model.EpochStart | None, Parent | None, bool, Verdict],
) -> None:
    opens, known, is_only_root, expected = case

    assert judge_opening(opens, known, is_only_root=is_only_root) is expected


def test_forks_rollbacks_and_lost_memory_quarantine_and_what_may_still_arrive_does_not() -> None:
    def quarantined(verdict: Verdict) -> bool:
        return quarantines(verdict, opening(4))

    assert [v for v in Verdict if quarantined(v)] == [Verdict.FORK, Verdict.ROLLBACK]
    assert quarantines(Verdict.STATE_LOSS, opening())
    assert quarantines(Verdict.STATE_LOSS, None)


def dropped(first: int, last: int, epoch: bytes = b"e" * 16) -> model.DroppedRange:
    return model.DroppedRange(
        reason=model.DropReason.EVICTED,
        epoch=epoch,
        first_seq=first,
        last_seq=last,
        last_header_hash=b"h" * 32,
        batches=1,
        records=1,
    )


CONTRADICTIONS = {
    "unknown version": a_header(version=2),
    "no sequence number": a_header(seq=0),
    "beyond 63 bits": a_header(seq=2**63, previous=b"p" * 32),
    "first that names another": a_header(seq=1, previous=b"p" * 32),
    "first that does not name its parent": a_header(seq=1, opens=opening(4)),
    "later without a predecessor": a_header(seq=2, previous=b""),
    "later that opens": a_header(seq=2, previous=b"p" * 32, opens=opening()),
    "its own parent": a_header(
        seq=1,
        previous=b"p" * 32,
        opens=model.EpochStart(
            reason=model.EpochReason.CLEAN_START,
            parent_epoch=b"e" * 16,
            parent_seq=1,
            parent_hash=b"p" * 32,
        ),
    ),
    "half a parent": a_header(
        seq=1, opens=model.EpochStart(reason=model.EpochReason.CLEAN_START, parent_seq=1)
    ),
    "a parent before the first": a_header(
        seq=1,
        previous=b"p" * 32,
        opens=model.EpochStart(
            reason=model.EpochReason.CLEAN_START,
            parent_epoch=b"q" * 16,
            parent_seq=0,
            parent_hash=b"p" * 32,
        ),
    ),
    "a range that ends before it begins": a_header(
        seq=9, previous=b"p" * 32, dropped=(dropped(4, 3),)
    ),
    "another one dropped than the one before": a_header(
        seq=4, previous=b"p" * 32, dropped=(dropped(2, 3),)
    ),
    "itself dropped": a_header(seq=3, previous=b"p" * 32, dropped=(dropped(2, 3),)),
}


@pytest.mark.parametrize("header", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_header_that_contradicts_itself_is_malformed(header: model.Header) -> None:
    with pytest.raises(Malformed):
        check_header(header)


def test_a_header_may_declare_ranges_of_its_own_past_and_of_other_epochs() -> None:
    header = a_header(seq=5, previous=b"h" * 32, dropped=(dropped(2, 4), dropped(9, 12, b"o" * 16)))

    check_header(header)


Steps = st.lists(
    st.tuples(st.sampled_from(["send", "fork", "lose"]), st.integers(1, 12), st.integers(1, 4)),
    max_size=40,
)


@given(Steps)
def test_the_chain_agrees_with_a_set_of_what_was_kept_and_lost(
    steps: list[tuple[str, int, int]],
) -> None:
    """The oracle knows every place by itself; the chain keeps only a head and a few ranges."""
    chain = Chain()
    kept: dict[int, Signed] = {}
    gone: set[int] = set()

    for what, seq, span in steps:
        if what == "lose":
            last = seq + span - 1
            chain = declare(chain, Lost(seq, last, hash_of(last)))
            gone |= set(range(seq, last + 1))
            continue
        own = Signed(hash_of(seq) if what == "send" else hash_of("fork", seq), b"sig")
        previous = hash_of(seq - 1) if what == "send" else hash_of("fork", seq - 1)
        expected = hash_of(seq) if seq + 1 in kept or seq in gone else None
        before = hash_of(seq - 1) if seq - 1 in kept or seq - 1 in gone else None
        header = a_header(seq=seq, previous=previous if seq > 1 else b"")
        verdict = judge(chain, header, own, Around(kept.get(seq), before, expected))

        if seq in kept:
            assert verdict is (Verdict.DUPLICATE if kept[seq] == own else Verdict.FORK)
        elif what == "fork" and not (seq == 1 and expected is None) and (before or expected):
            assert verdict is Verdict.FORK
        elif what == "send":
            missing = set(range(1, seq)) - kept.keys() - gone
            assert verdict is (Verdict.HOLE if missing else Verdict.ACCEPT)
            kept[seq] = own
            chain = place(chain, Place(seq, own.hash))

        run = 0
        while run + 1 in kept or run + 1 in gone:
            run += 1
        assert chain.head.seq == run
        assert chain.kept.seq == max((s for s in kept if s <= run), default=0)
        assert [one.seq for one in chain.ahead] == sorted(s for s in kept if s > run)
        assert chain.top.seq == max(kept.keys() | gone, default=0)
