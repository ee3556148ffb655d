"""The laws of checkpoints and proof files."""

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.identity import TenantId
from certs.signatures import SigningKey
from proto import merkle, tlog
from proto.envelope import PayloadType, pae
from proto.errors import CheckpointRejected, Malformed, ProofRejected, TooLarge, WireError
from proto.merkle import TreeHead
from proto.note import NoteKey, open_note, sign_note
from proto.tlog import Checkpoint, LogProof

KEY = SigningKey.from_private_bytes(bytes(range(32)))
OTHER = SigningKey.from_private_bytes(bytes(range(1, 33)))
ORIGIN = "vedette.example/log"
LEAVES = [merkle.leaf_hash(bytes([value])) for value in range(11)]
HEAD = TreeHead(len(LEAVES), merkle.root_of(LEAVES))

# The first page of C2SP tlog-checkpoint.md, and the form that tlog-proof.md prescribes.
PUBLISHED = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
PROOF_FILE = (
    "c2sp.org/tlog-proof@v1\n"
    "extra ZXh0cmE=\n"
    "index 1\n"
    "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n"
    "Xwg/ChozygdqlSeYMlgNs+DvRYS9/x9UyKNg9Q3jAx4=\n"
    "\n"
    "example.com/log\n5\nTju7H3tHjc/nH7YxYxUZo7yhLJrvyhYSv85ME6hiZNQ=\n"
    "\n"
    "\N{EM DASH} example.com/log AAAAAAA=\n"
)

TRUSTED = [NoteKey(ORIGIN, KEY.public)]

hashes = st.binary(min_size=32, max_size=32)
lines = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=30)
checkpoints = st.builds(
    Checkpoint,
    origin=lines,
    head=st.builds(TreeHead, st.integers(0, merkle.TREE_SIZE_MAX), hashes),
    extensions=st.lists(lines, max_size=3).map(tuple),
)
proofs = st.builds(
    LogProof,
    index=st.integers(0, merkle.TREE_SIZE_MAX),
    path=st.lists(hashes, max_size=10).map(tuple),
    checkpoint=st.binary(min_size=1, max_size=100),
    extra=st.binary(max_size=100),
)


def a_checkpoint(signer: SigningKey = KEY, origin: str = ORIGIN, head: TreeHead = HEAD) -> bytes:
    return tlog.sign_checkpoint(Checkpoint(origin, head), signer)


def a_proof(index: int = 4, extra: bytes = b"extra") -> LogProof:
    path = merkle.inclusion_proof(index, HEAD.size, merkle.nodes_of(LEAVES))
    return LogProof(index, path, a_checkpoint(), extra)


def test_the_published_checkpoint_is_read_and_written_as_published() -> None:
    checkpoint = tlog.parse_checkpoint(PUBLISHED)

    assert checkpoint.origin == "example.com/behind-the-sofa"
    assert checkpoint.head.size == 20852163
    assert checkpoint.extensions == ()
    assert tlog.encode_checkpoint(checkpoint) == PUBLISHED


def test_a_proof_file_of_the_prescribed_form_is_read_and_written_as_it_stands() -> None:
    proof = tlog.parse_proof(PROOF_FILE.encode())

    assert proof.index == 1
    assert len(proof.path) == 2
    assert proof.extra == b"extra"
    assert proof.checkpoint.decode() == PROOF_FILE.partition("\n\n")[2]
    assert tlog.encode_proof(proof) == PROOF_FILE.encode()


@given(checkpoints)
def test_a_signed_checkpoint_is_read_back_under_the_key_of_its_origin(
    checkpoint: Checkpoint,
) -> None:
    if "+" in checkpoint.origin:
        return

    note = tlog.sign_checkpoint(checkpoint, KEY)
    keys = [NoteKey(checkpoint.origin, key.public) for key in (OTHER, KEY)]

    assert tlog.open_checkpoint(note, keys) == checkpoint


@given(proofs)
def test_a_proof_file_is_read_back_as_it_was_written(proof: LogProof) -> None:
    assert tlog.parse_proof(tlog.encode_proof(proof)) == proof


@pytest.mark.parametrize("index", range(len(LEAVES)))
def test_every_leaf_of_a_log_is_proven_by_its_file(index: int) -> None:
    proof = tlog.parse_proof(tlog.encode_proof(a_proof(index)))

    checkpoint = tlog.verify_logged(proof, LEAVES[index], TRUSTED)

    assert checkpoint == Checkpoint(ORIGIN, HEAD)


def test_a_leaf_that_is_not_there_is_not_proven() -> None:
    with pytest.raises(ProofRejected):
        tlog.verify_logged(a_proof(4), LEAVES[5], TRUSTED)


def test_a_checkpoint_of_another_key_proves_nothing() -> None:
    with pytest.raises(CheckpointRejected):
        tlog.verify_logged(a_proof(), LEAVES[4], [NoteKey(ORIGIN, OTHER.public)])
    with pytest.raises(CheckpointRejected):
        tlog.verify_logged(a_proof(), LEAVES[4], [])


def test_a_log_signs_in_the_name_of_its_origin_only() -> None:
    text = tlog.encode_checkpoint(Checkpoint("elsewhere.example/log", HEAD))
    forged = a_checkpoint().replace(ORIGIN.encode(), b"elsewhere.example/log", 1)

    assert forged.startswith(text.encode())
    with pytest.raises(CheckpointRejected):
        tlog.open_checkpoint(forged, TRUSTED)


def test_a_trusted_log_cannot_sign_the_checkpoint_of_another() -> None:
    text = tlog.encode_checkpoint(Checkpoint("elsewhere.example/log", HEAD))
    note = sign_note(text, ORIGIN, KEY)
    keys = [*TRUSTED, NoteKey("elsewhere.example/log", OTHER.public)]

    assert open_note(note, TRUSTED) == text
    with pytest.raises(CheckpointRejected):
        tlog.open_checkpoint(note, keys)


def test_every_flipped_bit_of_a_proof_file_is_found_or_is_in_the_extra_that_the_caller_checks() -> (
    None
):
    data = tlog.encode_proof(a_proof())

    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            proof = tlog.parse_proof(bytes(flipped))
            tlog.verify_logged(proof, LEAVES[4], TRUSTED)
        except WireError:
            continue
        assert proof == msgspec.structs.replace(a_proof(), extra=proof.extra)
        assert proof.extra != b"extra"


def test_a_log_leaf_is_over_the_encoding_and_the_signature() -> None:
    leaf = tlog.log_leaf(PayloadType.BATCH, b"header", b"signature")

    entry = sha256(pae(PayloadType.BATCH, b"header") + b"signature").digest()
    assert leaf == sha256(b"\x00" + entry).digest()
    assert leaf.hex() == "ac7856d777e861011f9ccee82d8795f1f02a2d8e615b947f05726ba207389ece"


def test_a_refusal_stands_in_the_log_as_something_else_than_a_batch() -> None:
    batch = tlog.log_leaf(PayloadType.BATCH, b"payload", b"signature")
    refusal = tlog.log_leaf(PayloadType.REFUSAL, b"payload", b"signature")

    assert batch != refusal


def test_the_name_of_a_log_says_whose_it_is_and_of_which_generation() -> None:
    origin = tlog.log_origin("vedette.example", TenantId(bytes(16)), bytes(range(16)))

    assert origin == (
        "vedette.example/log/00000000-0000-0000-0000-000000000000/"
        "00010203-0405-0607-0809-0a0b0c0d0e0f"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n",
        PUBLISHED[:-1],
        PUBLISHED + "\n",
        PUBLISHED + "\nextension\n",
        PUBLISHED.replace("20852163", "020852163"),
        PUBLISHED.replace("20852163", "-1"),
        PUBLISHED.replace("20852163", "+1"),
        PUBLISHED.replace("20852163", "1_0"),
        PUBLISHED.replace("20852163", " 1"),
        PUBLISHED.replace("20852163", "\N{ARABIC-INDIC DIGIT ONE}"),
        PUBLISHED.replace("20852163", "9223372036854775808"),
        PUBLISHED.replace("20852163", "9" * 5000),
        PUBLISHED.replace("CsUY", "CsU"),
        PUBLISHED.replace("CsUYapGGPo4d", ""),
        PUBLISHED.replace("q2I=", "q2J="),
        "x" * 257 + PUBLISHED,
        PUBLISHED + "extension\n" * (tlog.EXTENSIONS_MAX + 1),
    ],
)
def test_a_checkpoint_that_breaks_the_format_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        tlog.parse_checkpoint(text)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("", HEAD),
        Checkpoint("two\nlines", HEAD),
        Checkpoint(ORIGIN, TreeHead(-1, HEAD.root)),
        Checkpoint(ORIGIN, TreeHead(1, HEAD.root[:-1])),
        Checkpoint(ORIGIN, HEAD, ("",)),
        Checkpoint(ORIGIN, HEAD, ("two\nlines",)),
    ],
)
def test_a_checkpoint_that_could_not_be_read_back_is_not_signed(checkpoint: Checkpoint) -> None:
    with pytest.raises(Malformed):
        tlog.sign_checkpoint(checkpoint, KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        PROOF_FILE.replace("@v1", "@v2"),
        PROOF_FILE.replace("\n", "\r\n"),
        PROOF_FILE.replace("extra ZXh0cmE=", "extra "),
        PROOF_FILE.replace("extra ", "extra  "),
        PROOF_FILE.replace("extra ZXh0cmE=\n", "extra ZXh0cmE=\n" * 2),
        PROOF_FILE.replace("index 1\n", ""),
        PROOF_FILE.replace("index 1", "index 01"),
        PROOF_FILE.replace("index 1", "index -1"),
        PROOF_FILE.replace("index 1", "index  1"),
        PROOF_FILE.replace("index 1", "Index 1"),
        PROOF_FILE.replace("index 1", "index \N{ARABIC-INDIC DIGIT ONE}"),
        PROOF_FILE.replace("bjQL", ""),
        PROOF_FILE.replace("oB0=\n", "oB1=\n"),
        PROOF_FILE.partition("\n\n")[0],
        PROOF_FILE.partition("\n\n")[0] + "\n\n",
    ],
)
def test_a_proof_file_that_breaks_the_format_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        tlog.parse_proof(text.encode())


def test_a_proof_file_over_its_limits_is_not_read() -> None:
    path = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n"

    with pytest.raises(TooLarge):
        tlog.parse_proof(PROOF_FILE.replace(path, path * 64).encode())
    with pytest.raises(TooLarge):
        tlog.parse_proof(bytes(tlog.PROOF_SIZE_BYTES_MAX + 1))


@pytest.mark.parametrize(
    "proof",
    [
        LogProof(-1, (), b"checkpoint"),
        LogProof(0, (b"short",), b"checkpoint"),
        LogProof(0, (), b""),
    ],
)
def test_a_proof_that_could_not_be_read_back_is_not_written(proof: LogProof) -> None:
    with pytest.raises(Malformed):
        tlog.encode_proof(proof)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda s: s.encode())))
def test_any_bytes_are_a_proof_file_or_our_error(data: bytes) -> None:
    for candidate in (data, b"c2sp.org/tlog-proof@v1\nindex 0\n" + data):
        try:
            proof = tlog.parse_proof(candidate)
        except WireError:
            continue
        assert tlog.encode_proof(proof) == candidate


@given(st.text(max_size=200))
def test_any_text_is_a_checkpoint_or_our_error(text: str) -> None:
    for candidate in (text, f"origin\n1\n{text}\n"):
        try:
            checkpoint = tlog.parse_checkpoint(candidate)
        except WireError:
            continue
        assert tlog.encode_checkpoint(checkpoint) == candidate
