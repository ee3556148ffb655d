import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from collector.errors import AdmitRefused
from collector.ledger.admit import admitted, open_batch, open_body
from collector.ledger.chain import Verdict
from collector.ledger.ports import SealedBatch, Stored
from proto import codec, merkle
from proto.errors import RejectReason
from proto.model import RAW_BYTES_MAX, Audit, Body, Compression, RecordRef
from tests.collector.sealing import NOW, TENANT, AnAgent, a_header

AUDIT = Audit(actor="us", action="test", subject="it", outcome="done", at=1)
RECORD = codec.encode_record(AUDIT)
# A record of a kind that does not exist: field 1000, two bytes.
FROM_THE_FUTURE = b"\xc2\x3e\x02hi"


def stored(batch: SealedBatch) -> Stored:
    return Stored(
        position=7,
        received=NOW,
        verdict=Verdict.ACCEPT,
        header_hash=batch.header_hash,
        header=batch.header_bytes,
        signature=batch.signature,
        body=batch.body,
    )


def a_body(records: list[bytes]) -> tuple[bytes, bytes]:
    seed = b"s" * 32
    root = merkle.root_of(merkle.batch_leaves(seed, records))
    return codec.encode_body(Body(seed=seed, records=tuple(records))), root


def refused(reason: RejectReason, body: bytes, **header: object) -> None:
    with pytest.raises(AdmitRefused) as caught:
        open_body(a_header(**header), body)
    assert caught.value.reason is reason


def test_what_was_sealed_is_what_is_admitted() -> None:
    batch = stored(AnAgent().seal([RECORD, RECORD]))

    opened = open_batch(batch)
    seen = admitted(TENANT, batch, opened, trusted=True, derived=False)

    assert opened.records == (AUDIT, AUDIT)
    assert not opened.is_newer
    assert [one.record for one in seen.records] == [AUDIT, AUDIT]
    assert seen.records[1].ref == RecordRef(
        opened.header.agent, opened.header.epoch, opened.header.seq, 1
    )
    assert (seen.position, seen.received, seen.trusted, seen.derived) == (7, NOW, True, False)


def test_an_empty_batch_is_admitted() -> None:
    assert open_batch(stored(AnAgent().seal())).records == ()


def test_a_record_of_a_newer_kind_keeps_its_place_and_is_not_shown() -> None:
    batch = stored(AnAgent().seal([FROM_THE_FUTURE, RECORD]))

    opened = open_batch(batch)
    seen = admitted(TENANT, batch, opened, trusted=True, derived=False)

    assert opened.is_newer
    assert [one.ref.index for one in seen.records] == [1]


def test_a_bomb_stops_at_the_size_its_header_states() -> None:
    bomb = zlib.compress(bytes(200_000_000), 9)

    refused(RejectReason.SIZE, bomb, raw_bytes=1000)
    refused(RejectReason.SIZE, bomb, raw_bytes=RAW_BYTES_MAX)
    refused(RejectReason.SIZE, bomb, raw_bytes=2**63)
    refused(RejectReason.SIZE, zlib.compress(b"x"), raw_bytes=0)


def test_a_body_of_another_size_than_stated_is_refused() -> None:
    raw, root = a_body([RECORD])

    refused(RejectReason.SIZE, zlib.compress(raw), raw_bytes=len(raw) - 1, root=root)
    refused(RejectReason.SIZE, zlib.compress(raw), raw_bytes=len(raw) + 1, root=root)
    refused(RejectReason.SIZE, raw, raw_bytes=1, compression=Compression.NONE)


def test_a_body_that_is_cut_or_followed_by_more_is_refused() -> None:
    raw, root = a_body([RECORD])
    packed = zlib.compress(raw)

    refused(RejectReason.MALFORMED, packed + b"more", raw_bytes=len(raw), root=root)
    refused(RejectReason.MALFORMED, packed[:-1], raw_bytes=len(raw), root=root)
    refused(RejectReason.MALFORMED, b"not zlib", raw_bytes=len(raw), root=root)


def test_another_root_another_count_and_another_packing_are_refused() -> None:
    raw, root = a_body([RECORD])
    packed = zlib.compress(raw)

    refused(RejectReason.PROOF, packed, raw_bytes=len(raw), root=b"r" * 32)
    refused(RejectReason.MALFORMED, packed, raw_bytes=len(raw), root=root, records=2)
    refused(
        RejectReason.VERSION,
        packed,
        raw_bytes=len(raw),
        root=root,
        compression=Compression.UNSPECIFIED,
    )


def test_an_unpacked_body_is_admitted_as_it_is() -> None:
    raw, root = a_body([RECORD])
    header = a_header(raw_bytes=len(raw), root=root, compression=Compression.NONE)

    assert open_body(header, raw).records == (RECORD,)


def test_a_record_that_is_malformed_refuses_its_batch() -> None:
    with pytest.raises(AdmitRefused) as caught:
        open_batch(stored(AnAgent().seal([RECORD, b"\xff\xff"])))

    assert caught.value.reason is RejectReason.MALFORMED


@given(st.binary(max_size=300), st.integers(-1, 2000), st.sampled_from(Compression))
def test_any_body_gives_a_batch_or_a_refusal(
    body: bytes, raw_bytes: int, compression: Compression
) -> None:
    for candidate in (body, zlib.compress(body)):
        try:
            open_body(a_header(raw_bytes=raw_bytes, compression=compression), candidate)
        except AdmitRefused as refusal:
            assert refusal.reason in RejectReason  # noqa: PT017  (both ends are right)


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_no_flipped_bit_of_a_body_is_admitted(at: int, bit: int) -> None:
    batch = stored(AnAgent().seal([RECORD] * 3))
    flipped = bytearray(batch.body)
    flipped[at % len(flipped)] ^= 1 << bit

    with pytest.raises(AdmitRefused):
        open_batch(structs.replace(batch, body=bytes(flipped)))
