from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dnsframes import (
    ANSWERS_MAX,
    COUNT_MAX,
    NAME_CHARS_MAX,
    DnsHello,
    DnsLost,
    DnsSeen,
    decode_dns,
    encode_dns,
)
from agent.errors import DoorError

TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=300)


def a_sighting(**changes: Any) -> DnsSeen:  # noqa: ANN401  (whatever field it is)
    seen = DnsSeen(
        is_answer=True,
        is_tcp=False,
        is_loopback=False,
        is_outgoing=True,
        is_cut=False,
        code=0,
        id=7,
        qtype=1,
        client=bytes([192, 0, 2, 10]),
        client_port=40_000,
        server=bytes([192, 0, 2, 53]),
        server_port=53,
        name="www.example.org",
        answers=("203.0.113.5",),
    )
    return seen._replace(**changes)


@given(
    flags=st.tuples(*[st.booleans()] * 5),
    numbers=st.tuples(st.integers(0, 15), *[st.integers(0, 65_535)] * 2),
    size=st.sampled_from([4, 16]),
    texts=st.lists(TEXTS, min_size=1, max_size=ANSWERS_MAX),
)
def test_what_was_seen_is_read_as_it_was_packed(
    flags: tuple[bool, bool, bool, bool, bool],
    numbers: tuple[int, int, int],
    size: int,
    texts: list[str],
) -> None:
    client, server = bytes(range(1, size + 1)), bytes([255]) * size
    seen = DnsSeen(*flags, *numbers, client, 1, server, 53, texts[0], tuple(texts[1:]))

    assert decode_dns(encode_dns(seen)) == seen


@pytest.mark.parametrize("frame", [DnsHello(), DnsLost(1, 2, 3), DnsLost(0, 0, COUNT_MAX)])
def test_the_other_frames_are_read_as_they_were_packed(frame: DnsHello | DnsLost) -> None:
    assert decode_dns(encode_dns(frame)) == frame


def test_a_count_beyond_its_field_is_told_as_the_largest() -> None:
    assert decode_dns(encode_dns(DnsLost(1 << 40, 0, 0))) == DnsLost(COUNT_MAX, 0, 0)


WHOLE = encode_dns(a_sighting())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x03",
        b"\x00",
        b"\x01" + bytes(11),
        WHOLE[:-1],
        WHOLE + b"x",
        WHOLE[:20],
        WHOLE[:1] + b"\xff" + WHOLE[2:],
        WHOLE[:2] + b"\x10" + WHOLE[3:],
        encode_dns(a_sighting(client=b"\x01" * 5))[:1] + b"\x01" + encode_dns(a_sighting())[2:-1],
        encode_dns(a_sighting(name="x\x01")),
        encode_dns(a_sighting(name="")),
        encode_dns(a_sighting(name="x" * (NAME_CHARS_MAX + 1))),
        WHOLE.replace(b"www", b"\xffww"),
        encode_dns(a_sighting(answers=("a",) * (ANSWERS_MAX + 1))),
    ],
)
def test_what_no_honest_unit_sends_is_refused(data: bytes) -> None:
    with pytest.raises(DoorError):
        decode_dns(data)


def test_an_address_with_more_behind_it_is_refused() -> None:
    data = bytearray(WHOLE)
    data[13 + 10] = 1  # behind the four bytes of the client

    with pytest.raises(DoorError):
        decode_dns(bytes(data))


@given(data=st.binary(max_size=200), at=st.integers(0, 60))
def test_any_bytes_are_a_frame_or_our_error(data: bytes, at: int) -> None:
    for payload in (data, b"\x02" + data, WHOLE[:at] + data, WHOLE[:at] + data + WHOLE[at:]):
        try:
            decode_dns(payload)
        except DoorError:
            continue
