"""The laws of the messages between `sense` and its TUF child."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.doorframes import Chunk, Fetch
from agent.sense.tufframes import (
    MESSAGE_BYTES_MAX,
    Chain,
    ChainFacts,
    Job,
    Refusal,
    Report,
    decode_from_child,
    decode_to_child,
    encode,
    refusal_of,
)
from proto.content.errors import ContentRefused, RefuseReason

CHAIN = Chain((b"r",), b"t", b"s", b"x", "indicators", b"d")
FACTS = ChainFacts(1, 2, 3, 4, "indicators", 5, 6, 7, bytes(32))
JOB = Job(
    directory="/d",
    bootstrap=b"root",
    online=True,
    now=1,
    chain=CHAIN,
    have=b"",
    length_max=9,
    first_id=3,
)


def test_every_message_is_read_back_as_it_was_written() -> None:
    for told in (JOB, Chunk(1, b"data", 4)):
        assert decode_to_child(encode(told)) == told
    for said in (
        Fetch(1, "metadata/timestamp.json", 0),
        Report(CHAIN, FACTS, fetched=True),
        Refusal(RefuseReason.SIGNATURE, "not signed"),
    ):
        assert decode_from_child(encode(said)) == said


def test_the_largest_chain_fits_a_message() -> None:
    blob = bytes(100 * 1024)
    chain = Chain((blob,), b"", blob, blob, "indicators", blob)

    assert len(encode(Report(chain, FACTS, fetched=True))) < MESSAGE_BYTES_MAX


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_refusal(data: bytes) -> None:
    for decode in (decode_to_child, decode_from_child):
        try:
            message: object = decode(data)
        except ContentRefused:
            continue
        assert message is not None


def test_no_message_goes_the_wrong_way() -> None:
    with pytest.raises(ContentRefused):
        decode_from_child(encode(JOB))
    with pytest.raises(ContentRefused):
        decode_to_child(encode(Refusal(RefuseReason.ROLE, "x")))


def test_a_strangers_words_in_a_refusal_are_printable_and_cut() -> None:
    said = refusal_of(ContentRefused(RefuseReason.MALFORMED, "\x1b[2J\u202e" + "x" * 9999))

    assert said.message.isprintable()
    assert said.message.isascii()
    assert decode_from_child(encode(said)) == said
