"""The laws of the proof of one record."""

import base64
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto import merkle, record_proof
from proto.errors import Malformed, ProofRejected, TooLarge, WireError
from proto.merkle import TreeHead
from proto.record_proof import RecordProof

SEED = bytes(range(32))
RECORDS = [b"first", b"second", b"third", b"", b"fifth"]
LEAVES = merkle.batch_leaves(SEED, RECORDS)
BATCH = TreeHead(len(LEAVES), merkle.root_of(LEAVES))

hashes = st.binary(min_size=32, max_size=32)
proofs = st.builds(
    RecordProof,
    record=st.binary(max_size=100),
    salt=hashes,
    index=st.integers(0, 255),
    path=st.lists(hashes, max_size=8).map(tuple),
    header=st.binary(max_size=100),
    signature=st.binary(max_size=64),
    public_key=hashes,
)


def a_proof(index: int = 2) -> RecordProof:
    return RecordProof(
        record=RECORDS[index],
        salt=merkle.salt_of(SEED, index),
        index=index,
        path=merkle.inclusion_proof(index, BATCH.size, merkle.nodes_of(LEAVES)),
        header=b"header",
        signature=b"signature",
        public_key=bytes(32),
    )


@given(proofs)
def test_a_record_proof_is_read_back_as_it_was_written(proof: RecordProof) -> None:
    assert record_proof.parse_record_proof(record_proof.encode_record_proof(proof)) == proof


def test_an_auditor_can_read_it_with_common_tools() -> None:
    read = json.loads(record_proof.encode_record_proof(a_proof()))

    assert read["version"] == 1
    assert base64.b64decode(read["record"]) == b"third"
    assert set(read) == {
        "version",
        "record",
        "salt",
        "index",
        "path",
        "header",
        "signature",
        "public_key",
    }


@pytest.mark.parametrize("index", range(len(RECORDS)))
def test_every_record_of_a_batch_is_proven(index: int) -> None:
    record_proof.verify_record(a_proof(index), BATCH)


@pytest.mark.parametrize(
    "changes",
    [
        {"record": b"forged"},
        {"salt": bytes(32)},
        {"index": 3},
        {"index": 5},
        {"path": ()},
        {"path": (bytes(32),) * 3},
    ],
)
def test_a_record_that_was_not_sealed_there_is_not_proven(changes: dict[str, object]) -> None:
    forged = msgspec.structs.replace(a_proof(), **changes)

    with pytest.raises(ProofRejected):
        record_proof.verify_record(forged, BATCH)


def test_every_flipped_bit_of_a_record_proof_changes_what_it_says_or_is_refused() -> None:
    data = record_proof.encode_record_proof(a_proof())

    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            proof = record_proof.parse_record_proof(bytes(flipped))
        except WireError:
            continue
        assert proof != a_proof()


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("{", " {"),
        ("}", "}\n"),
        ('"index":2', '"index": 2'),
        ('"index":2', '"index":2.0'),
        ('"index":2', '"index":256'),
        ('"index":2', '"index":-1'),
        ('"version":1', '"version":2'),
        ('"version":1,', ""),
        ('"version":1', '"version":1,"more":1'),
        ('"version":1', '"version":1,"version":1'),
        ('"index"', '"\\u0069ndex"'),
        ('"salt":"', '"salt":"AAAA'),
        ("}", ""),
        ('"version":1', '"version":' + "[" * 10_000),
    ],
)
def test_any_other_spelling_is_malformed(part: str, other: str) -> None:
    text = record_proof.encode_record_proof(a_proof()).decode()

    changed = text.replace(part, other)

    assert changed != text
    with pytest.raises(Malformed):
        record_proof.parse_record_proof(changed.encode())


def test_a_path_longer_than_the_largest_batch_is_high_is_malformed() -> None:
    proof = msgspec.structs.replace(a_proof(), path=(bytes(32),) * 9)

    with pytest.raises(Malformed):
        record_proof.encode_record_proof(proof)


def test_a_record_proof_over_its_limit_is_not_read() -> None:
    with pytest.raises(TooLarge):
        record_proof.parse_record_proof(bytes(record_proof.EXTRA_SIZE_BYTES_MAX + 1))


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda s: s.encode())))
def test_any_bytes_are_a_record_proof_or_our_error(data: bytes) -> None:
    with pytest.raises(WireError):
        record_proof.parse_record_proof(data)
