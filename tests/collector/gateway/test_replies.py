import pytest

from collector.errors import LedgerBusy, LedgerUnavailable
from collector.gateway.messages import hint_reply
from collector.gateway.replies import OTHERS_WAITING_MAX, Replies
from collector.ledger.chain import Verdict
from collector.ledger.ports import Head, Outcome
from collector.ledger.receipts import LedgerState, ReceiptSigner
from proto import codec
from proto.model import HintKind, RefusedReason, SeqHash
from proto.vedette.v1.envelope_pb2 import Reply
from tests.collector.sealing import TENANT, a_key
from tests.fakes.clock import FakeClock

HASH = b"h" * 32


def head(seq: int, epoch: bytes = b"e" * 16, ahead: tuple[int, ...] = ()) -> Head:
    return Head(
        agent=b"a" * 16,
        epoch=epoch,
        seq=seq,
        header_hash=HASH if seq else b"",
        ahead=tuple(SeqHash(seq=one, header_hash=HASH) for one in ahead),
        wanted=seq + 1,
    )


def kept(seq: int, verdict: Verdict = Verdict.ACCEPT) -> tuple[Outcome, bytes]:
    return Outcome(verdict, head(seq)), HASH


@pytest.fixture
def replies() -> Replies:
    signer = ReceiptSigner(a_key("r"), FakeClock(), lambda _: LedgerState(b"g" * 16, 0))
    return Replies(TENANT, signer, 7)


def told(replies: Replies) -> list[str]:
    found = []
    for data in replies.take():
        reply = Reply.FromString(data)
        match reply.WhichOneof("kind"):
            case "receipt":
                receipt = codec.decode_receipt(reply.receipt.payload)
                ahead = ",".join(str(one.seq) for one in receipt.ahead)
                found.append(f"receipt {receipt.seq} [{ahead}]")
            case "refused":
                found.append(f"refused {reply.refused.reason} {reply.refused.retry}")
            case "resume":
                found.append(f"resume {reply.resume.seq}")
            case kind:
                found.append(str(kind))
    return found


def test_a_newer_receipt_stands_for_all_older_ones_of_its_epoch(replies: Replies) -> None:
    for seq in range(1, 100):
        replies.handed_over()
        replies.answer([kept(seq)])

    assert told(replies) == ["receipt 99 []"]
    assert told(replies) == []
    assert replies.in_flight == 0


def test_each_epoch_has_a_receipt_of_its_own(replies: Replies) -> None:
    other = Outcome(Verdict.ACCEPT, head(3, b"f" * 16)), HASH

    replies.answer([kept(5), other])

    assert told(replies) == ["receipt 5 []", "receipt 3 []"]


def test_a_refusal_waits_for_the_answers_to_what_was_read_before_it(replies: Replies) -> None:
    replies.handed_over()
    replies.refuse(RefusedReason.DIGEST, HASH)
    early = told(replies)
    replies.answer([kept(1)])

    assert early == []
    assert told(replies) == ["receipt 1 []", "refused 4 False"]


def test_a_failed_commit_is_told_for_each_batch_as_something_to_send_again(
    replies: Replies,
) -> None:
    replies.handed_over()
    replies.handed_over()

    replies.fail([HASH, HASH], LedgerUnavailable("full"))

    assert told(replies) == ["refused 7 True", "refused 7 True"]
    replies.handed_over()
    replies.fail([HASH], LedgerBusy("busy"))
    assert told(replies) == ["refused 6 True"]


def test_a_batch_too_far_ahead_may_come_again(replies: Replies) -> None:
    replies.handed_over()
    replies.answer([(Outcome(None, head(1)), HASH)])

    assert told(replies) == ["refused 6 True"]


def test_evidence_of_a_fork_is_receipted_apart(replies: Replies) -> None:
    fork = Outcome(Verdict.FORK, head(5), SeqHash(seq=3, header_hash=HASH)), HASH

    replies.answer([kept(5), fork])

    assert told(replies) == ["receipt 5 []", "receipt 0 [3]"]


def test_a_greeting_tells_what_is_kept_and_asks_for_what_is_missing(replies: Replies) -> None:
    replies.greet([head(7), head(0, b"f" * 16), head(0, b"g" * 16, ahead=(2,))])

    assert told(replies) == ["receipt 0 [2]", "receipt 7 []", "resume 8"]
    replies.greet([])
    assert told(replies) == ["hint"]


def test_what_answers_nothing_is_dropped_when_nobody_reads(replies: Replies) -> None:
    for _ in range(3 * OTHERS_WAITING_MAX):
        replies.say(hint_reply(HintKind.CONTENT_CHANGED))

    assert len(told(replies)) == OTHERS_WAITING_MAX
