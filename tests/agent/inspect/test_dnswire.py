import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dnsframes import ANSWERS_MAX, NAME_CHARS_MAX
from agent.inspect.dnswire import BadMessage, parse_message
from tests.agent.inspect.dnsbytes import (
    AAAA,
    CNAME,
    HTTPS,
    MX,
    SRV,
    TXT,
    A,
    a_query,
    a_record,
    address,
    an_answer,
    packed_name,
)

V4 = address("203.0.113.5")


def test_a_query_tells_what_is_asked() -> None:
    message = parse_message(a_query("WWW.Example.org", AAAA, 77))

    assert (message.id, message.is_answer, message.name) == (77, False, "www.example.org")
    assert (message.qtype, message.answers, message.is_cut) == (AAAA, (), False)


def test_an_answer_tells_what_came_back_as_text() -> None:
    answers = (
        a_record(CNAME, packed_name("cdn.example.net")),
        a_record(A, V4),
        a_record(AAAA, address("2001:db8::5")),
        a_record(MX, b"\0\x0a" + packed_name("mail.example.org")),
        a_record(SRV, struct.pack(">HHH", 1, 5, 5060) + packed_name("sip.example.org")),
        a_record(HTTPS, b"\0\x01" + packed_name("") + b"\0\x01\0\x03\x02h2"),
        a_record(TXT, b"\x05hello"),
        a_record(6, b"x" * 30),
    )

    message = parse_message(an_answer(*answers))

    assert message.answers == (
        "cdn.example.net",
        "203.0.113.5",
        "2001:db8::5",
        "MX 10 mail.example.org",
        "SRV 1 5 5060 sip.example.org",
        "HTTPS 1 .",
        "TXT 6 bytes",
        "TYPE6 30 bytes",
    )
    assert (message.is_answer, message.code, message.is_cut) == (True, 0, False)


def test_names_may_point_back() -> None:
    # mail . (pointer to example.org, behind the www of the question)
    target = b"\x04mail\xc0\x10"

    message = parse_message(an_answer(a_record(CNAME, target), a_record(A, V4)))

    assert message.answers == ("mail.example.org", "203.0.113.5")


def test_a_code_without_answers_is_an_answer() -> None:
    message = parse_message(an_answer(flags=0x8183))

    assert (message.code, message.answers) == (3, ())


def test_what_is_no_plain_character_is_escaped() -> None:
    name = b"\x04a.b\\\x02\x00\xff\x00"
    query = struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + name + struct.pack(">HH", 1, 1)

    assert parse_message(query).name == "a\\046b\\092.\\000\\255"


@pytest.mark.parametrize(
    "name",
    [
        b"\xc0\x0c",  # itself
        b"\x01a\xc0\x0c",  # round and round
        b"\xc0\x20",  # ahead
        b"\x40" + b"a" * 64 + b"\0",  # a label of another kind
        b"\x05ab",  # cut short
        b"\xc0",
        b"",
        b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63 + b"\x3f" + b"c" * 63 + b"\x3f" + b"d" * 63,
    ],
)
def test_a_name_that_leads_nowhere_is_refused(name: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_message(struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + name)


def test_pointers_may_not_be_chained_for_ever() -> None:
    chain = b"".join(struct.pack(">H", 0xC00C + 2 * index) for index in range(40))
    answer = struct.pack(">HHHHHH", 1, 0x8000, 1, 1, 0, 0)
    # A question of the root, behind which each pointer leads to the one before.
    message = answer + b"\0" + struct.pack(">HH", 1, 1) + chain

    with pytest.raises(BadMessage):
        parse_message(message)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        a_query()[:11],
        a_query()[:-1],
        struct.pack(">HHHHHH", 1, 0x2800, 1, 0, 0, 0) + b"\0\0\x01\0\x01",  # an update
        struct.pack(">HHHHHH", 1, 0, 0, 0, 0, 0),
        struct.pack(">HHHHHH", 1, 0, 2, 0, 0, 0) + b"\0\0\x01\0\x01" * 2,
        an_answer(a_record(A, b"abc")),
        an_answer(a_record(AAAA, V4)),
        an_answer(a_record(MX, b"\0\x0a")),
        an_answer(a_record(CNAME, packed_name("too.long")[:-1])),
        an_answer(count=1),
        an_answer(a_record(A, V4)[:-1]),
    ],
)
def test_what_is_not_well_formed_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_message(data)


def test_an_answer_that_says_it_is_cut_tells_what_there_is() -> None:
    message = parse_message(an_answer(a_record(A, V4), flags=0x8380, count=5))

    assert (message.answers, message.is_cut) == (("203.0.113.5",), True)


def test_more_answers_than_the_limit_are_cut() -> None:
    message = parse_message(an_answer(*[a_record(A, V4)] * (ANSWERS_MAX + 1)))

    assert (len(message.answers), message.is_cut) == (ANSWERS_MAX, True)


RECORDS = st.lists(
    st.builds(a_record, st.sampled_from([A, CNAME, MX, SRV, HTTPS, TXT]), st.binary(max_size=40)),
    max_size=6,
)


@given(data=st.binary(max_size=300), records=RECORDS, cut=st.integers(0, 20))
def test_any_bytes_are_a_message_or_our_error(data: bytes, records: list[bytes], cut: int) -> None:
    whole = an_answer(*records)
    for payload in (data, whole, whole[: len(whole) - cut], a_query()[:12] + data, whole + data):
        try:
            message = parse_message(payload)
        except BadMessage:
            continue
        for text in (message.name, *message.answers):
            assert 0 < len(text) <= NAME_CHARS_MAX
            assert text.isascii()
            assert text.isprintable()


@given(labels=st.lists(st.binary(min_size=1, max_size=20), max_size=8))
def test_a_name_is_read_as_it_was_packed(labels: list[bytes]) -> None:
    raw = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    message = parse_message(
        struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + raw + struct.pack(">HH", 1, 1)
    )

    assert message.name.count(".") == max(len(labels) - 1, 0 if labels else 1)
    socket.htons(message.qtype)
