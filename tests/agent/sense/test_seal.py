import hashlib
import zlib

import pytest

from agent.sense.batch import OpenBatch
from agent.sense.seal import Surroundings, without_surroundings
from certs.errors import CertError
from proto import codec, envelope, merkle
from proto.envelope import PayloadType
from proto.errors import EnvelopeRejected, TooLarge
from proto.model import DroppedRange, DropReason, EpochReason, EpochStart, Priority
from tests.agent.sense.builders import Host, a_batch
from tests.proto.builders import a_finding


def test_each_batch_names_the_one_before_and_only_the_first_opens_the_epoch() -> None:
    host = Host()
    sealer = host.sealer(EpochStart(reason=EpochReason.FIRST))

    first, second = a_batch(sealer), a_batch(sealer)
    one, two = codec.decode_header(first.header), codec.decode_header(second.header)

    assert (one.seq, two.seq) == (1, 2)
    assert one.previous == b""
    assert two.previous == envelope.header_hash(PayloadType.BATCH, first.header) == first.hash
    assert one.opens is not None
    assert two.opens is None
    assert one.epoch == two.epoch == sealer.epoch


def test_a_new_epoch_continues_from_its_parent() -> None:
    host = Host()
    parent = a_batch(host.sealer())
    opens = EpochStart(
        reason=EpochReason.UNCLEAN_START,
        parent_epoch=parent.epoch,
        parent_seq=parent.seq,
        parent_hash=parent.hash,
    )

    child = codec.decode_header(a_batch(host.sealer(opens)).header)

    assert child.previous == parent.hash
    assert child.opens == opens
    assert child.epoch != parent.epoch


def test_the_header_binds_body_and_records() -> None:
    host = Host()
    batch = OpenBatch(Priority.HIGH)
    records = [codec.encode_record(a_finding(title=f"finding {n}")) for n in range(5)]
    for record in records:
        batch.add(record, 1, 1)

    sealed = host.sealer().seal(batch, Surroundings())
    header = codec.decode_header(sealed.header)
    body = codec.decode_body(zlib.decompress(sealed.body))

    envelope.verify(PayloadType.BATCH, sealed.header, sealed.signature, host.key.public)
    assert header.body_sha256 == hashlib.sha256(sealed.body).digest()
    assert header.records == 5
    assert list(body.records) == records
    assert header.root == merkle.root_of(merkle.batch_leaves(body.seed, body.records))


def test_a_flipped_bit_anywhere_in_a_header_fails_the_signature() -> None:
    host = Host()
    sealed = a_batch(host.sealer())
    for place in range(0, len(sealed.header), 7):
        raw = bytearray(sealed.header)
        raw[place] ^= 1

        with pytest.raises((EnvelopeRejected, CertError)):
            envelope.verify(PayloadType.BATCH, bytes(raw), sealed.signature, host.key.public)


def test_two_batches_of_the_same_records_share_no_leaf() -> None:
    host = Host()
    sealer = host.sealer()

    roots = {codec.decode_header(a_batch(sealer).header).root for _ in range(3)}

    assert len(roots) == 3


def test_a_header_over_its_limit_is_never_signed() -> None:
    host = Host()
    dropped = DroppedRange(DropReason.EVICTED, bytes(16), 1, 1, bytes(32), 1, 1)
    around = Surroundings(dropped=(dropped,) * 65)
    sealer = host.sealer()

    with pytest.raises(TooLarge):
        sealer.seal(OpenBatch(Priority.LOW), around)

    assert sealer.seq == 0
    assert without_surroundings(around).dropped == ()
