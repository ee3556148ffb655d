import pytest

from agent.errors import DoorError
from agent.sense.receipts import ReceiptBook
from certs.signatures import SigningKey
from proto import codec, envelope, merkle, tlog
from proto.envelope import PayloadType
from proto.model import Durability
from proto.note import NoteKey
from tests.agent.sense.builders import TENANT, Host, a_batch, a_receipt

COLLECTOR = SigningKey.generate()
LOG = SigningKey.generate()
ORIGIN = "example.org/log/one"


def a_book(host: Host) -> ReceiptBook:
    keys = {COLLECTOR.public.key_id: COLLECTOR.public}
    return ReceiptBook(TENANT, host.agent, keys, [NoteKey(ORIGIN, LOG.public)])


def signed(host: Host, **changes: object) -> tuple[bytes, bytes]:
    payload = codec.encode_receipt(a_receipt(host, a_batch(host.sealer()), (), **changes))
    return payload, envelope.sign(PayloadType.RECEIPT, payload, COLLECTOR)


def test_a_receipt_of_the_collector_is_believed_and_remembered() -> None:
    host = Host()
    book = a_book(host)

    receipt = book.take(*signed(host), COLLECTOR.public.key_id)

    assert book.last is not None
    assert book.last.seq == receipt.seq


def test_no_forged_or_foreign_receipt_is_believed() -> None:
    host = Host()
    book = a_book(host)
    payload, signature = signed(host)
    thief = SigningKey.generate()
    key_id = COLLECTOR.public.key_id

    for attempt in (
        (payload, envelope.sign(PayloadType.RECEIPT, payload, thief), key_id),
        (payload, signature, thief.public.key_id),
        (payload + b"\0", signature, key_id),
        (payload, envelope.sign(PayloadType.STATEMENT, payload, COLLECTOR), key_id),
        (*signed(host, agent=b"a" * 16), key_id),
        (*signed(host, tenant=b"t" * 16), key_id),
        (*signed(host, durability=Durability.RECEIVED), key_id),
        (b"junk", b"junk", key_id),
    ):
        with pytest.raises(DoorError):
            book.take(*attempt)
    assert book.last is None


def checkpoint(leaves: list[bytes]) -> bytes:
    nodes = merkle.nodes_of(leaves)
    head = merkle.TreeHead(len(leaves), merkle.root_at(len(leaves), nodes))
    return tlog.sign_checkpoint(tlog.Checkpoint(ORIGIN, head), LOG)


def test_a_log_that_rewrites_its_history_is_refused() -> None:
    host = Host()
    book = a_book(host)
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(5)]
    book.take_checkpoint(checkpoint(leaves[:3]), ())
    proof = merkle.consistency_proof(3, 5, merkle.nodes_of(leaves))
    other = [merkle.leaf_hash(b"other"), *leaves[1:]]

    with pytest.raises(DoorError):
        book.take_checkpoint(checkpoint(other), proof)
    with pytest.raises(DoorError):
        book.take_checkpoint(checkpoint(leaves[:2]), ())
    book.take_checkpoint(checkpoint(leaves), proof)

    assert book.checkpoint is not None
    assert book.checkpoint.size == 5


def test_only_the_tenants_log_may_speak() -> None:
    book = a_book(Host())
    head = merkle.TreeHead(1, merkle.leaf_hash(b"x"))
    note = tlog.sign_checkpoint(tlog.Checkpoint(ORIGIN, head), SigningKey.generate())

    for attempt in (note, b"junk", b""):
        with pytest.raises(DoorError):
            book.take_checkpoint(attempt, ())
