import struct
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content.errors import ContentDamaged, ContentError, ContentNewer, ContentTooLarge
from proto.content.rules import FILE_BYTES_MAX, FORM, Operator, Predicate
from proto.content.rulesfile import MAGIC, VERSION, is_rule_file, read, written
from tests.proto.content.rulebuilders import a_rule, a_rule_set, every, none

PREDICATES = [
    Predicate("Image", Operator.ENDSWITH, ("/nc", "/ncat")),
    Predicate(None, Operator.REGEX, ("(?i)a+",), cased=True),
    Predicate("Port", Operator.LTE, (1024, 2.5)),
]
RULES = a_rule_set(PREDICATES, [a_rule(every(0, none(1))), a_rule(2, "other")])


def a_file(payload: bytes, version: int = VERSION) -> bytes:
    digest = sha256(payload).digest()
    return struct.pack("<8sIIQ32s", MAGIC, version, 0, len(payload), digest) + payload


def test_a_file_says_the_rules_that_were_written() -> None:
    data = written(RULES)

    assert read(data) == RULES
    assert is_rule_file(data)
    assert written(read(data)) == data


def test_rules_that_break_the_form_are_not_written() -> None:
    with pytest.raises(ContentDamaged):
        written(a_rule_set(PREDICATES, [a_rule(9)]))


def test_a_later_version_or_form_is_newer() -> None:
    payload = written(RULES)[56:]

    with pytest.raises(ContentNewer):
        read(a_file(payload, VERSION + 1))
    with pytest.raises(ContentNewer):
        read(a_file(msgspec.msgpack.encode(a_rule_set(form=FORM + 1))))


def test_every_flipped_bit_is_seen() -> None:
    data = written(RULES)

    for at in range(len(data)):
        for bit in (1, 128):
            flipped = bytearray(data)
            flipped[at] ^= bit
            with pytest.raises(ContentError):
                read(bytes(flipped))


def test_every_cut_is_seen() -> None:
    data = written(RULES)

    for size in range(len(data)):
        with pytest.raises(ContentDamaged):
            read(data[:size])


def test_rules_that_are_written_in_another_way_are_refused() -> None:
    payload = written(RULES)[56:]
    # The same array under a longer header.
    other = b"\xdc\x00" + bytes([payload[0] & 0x0F]) + payload[1:]
    assert msgspec.msgpack.decode(other) == msgspec.msgpack.decode(payload)

    with pytest.raises(ContentDamaged, match="canonical"):
        read(a_file(other))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc0",
        b"\x90",
        msgspec.msgpack.encode([1, "18.1", [["Image", "eval", ["x"]]], []]),
        msgspec.msgpack.encode([1, "18.1", [["Image", "eq", ["x"], False, None, 1]], []]),
        b"\x91" * 100_000,
    ],
)
def test_a_payload_that_is_no_rule_set_is_damaged(payload: bytes) -> None:
    with pytest.raises(ContentDamaged):
        read(a_file(payload))


def test_a_file_has_a_limit() -> None:
    with pytest.raises(ContentTooLarge):
        read(MAGIC + bytes(FILE_BYTES_MAX))


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_rules_or_an_error_of_ours(data: bytes, sealed: bool) -> None:
    with pytest.raises(ContentError):
        read(a_file(data) if sealed else data)
