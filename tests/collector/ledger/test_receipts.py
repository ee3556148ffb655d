import pytest

from collector.ledger.ports import Head
from collector.ledger.receipts import LedgerState, ReceiptSigner
from proto import codec, envelope
from proto.envelope import PayloadType
from proto.errors import EnvelopeRejected
from proto.model import Durability, Receipt, SeqHash
from tests.collector.sealing import TENANT, a_key
from tests.fakes.clock import FakeClock

KEY = a_key("receipts")
HEAD = Head(
    agent=b"a" * 16,
    epoch=b"e" * 16,
    seq=7,
    header_hash=b"h" * 32,
    ahead=(SeqHash(seq=9, header_hash=b"i" * 32),),
    wanted=8,
)


def signer() -> ReceiptSigner:
    return ReceiptSigner(KEY, FakeClock(), lambda _: LedgerState(b"g" * 16, 41))


def test_a_receipt_says_what_is_kept_and_its_signature_holds_for_that_alone() -> None:
    signed = signer().receipt(TENANT, HEAD)

    envelope.verify(PayloadType.RECEIPT, signed.payload, signed.signature, KEY.public)
    assert codec.decode_receipt(signed.payload) == Receipt(
        version=1,
        tenant=TENANT.bytes,
        agent=HEAD.agent,
        epoch=HEAD.epoch,
        seq=7,
        header_hash=b"h" * 32,
        ledger_generation=b"g" * 16,
        log_size=41,
        durability=Durability.DURABLE,
        at=FakeClock().wall_ns(),
        ahead=HEAD.ahead,
    )
    assert signed.key_id == KEY.public.key_id
    with pytest.raises(EnvelopeRejected):
        envelope.verify(PayloadType.BATCH, signed.payload, signed.signature, KEY.public)


def test_the_receipt_of_a_forks_evidence_vouches_for_nothing_of_the_chain() -> None:
    beside = [SeqHash(seq=3, header_hash=b"f" * 32)]

    signed = signer().evidence(TENANT, HEAD, beside)

    receipt = codec.decode_receipt(signed.payload)
    assert (receipt.seq, receipt.header_hash) == (0, b"")
    assert receipt.ahead == tuple(beside)


def test_a_receipt_with_all_it_may_name_fits_its_limit() -> None:
    beside = [SeqHash(seq=2**62 + n, header_hash=b"f" * 32) for n in range(2000)]

    signed = signer().evidence(TENANT, HEAD, beside)

    assert len(codec.decode_receipt(signed.payload).ahead) == 1024
