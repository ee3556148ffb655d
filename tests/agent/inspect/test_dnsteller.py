import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dnsframes import FRAME_BYTES_MAX, DnsLost, decode_dns, encode_dns
from agent.inspect.dnscapture import Packet
from agent.inspect.dnsteller import (
    BURST_PACKETS_MAX,
    LOST_EVERY_NS,
    NS_PER_S,
    PACKETS_PER_S_MAX,
    DnsTeller,
    Pace,
)
from tests.agent.inspect.dnsbytes import (
    HERE,
    SERVER,
    A,
    a_query,
    a_record,
    address,
    an_answer,
    ipv4,
    tcp,
    udp,
)

BACK = SERVER, HERE


def a_packet(data: bytes, *, is_outgoing: bool = True, is_loopback: bool = False) -> Packet:
    return Packet(data, is_outgoing, is_loopback)


def test_who_asks_is_told_apart_from_who_answers_both_ways() -> None:
    teller = DnsTeller()
    reply = an_answer(a_record(A, address("203.0.113.5")))

    query = teller.seen(a_packet(ipv4(udp(a_query()))))
    answer = teller.seen(a_packet(ipv4(udp(reply, (53, 40_000)), ends=BACK), is_outgoing=False))

    assert query is not None
    assert answer is not None
    for seen in (query, answer):
        assert (seen.client, seen.client_port) == (address(HERE), 40_000)
        assert (seen.server, seen.server_port) == (address(SERVER), 53)
        assert (seen.name, seen.id, seen.qtype) == ("www.example.org", 7, A)
    assert (query.is_answer, query.is_outgoing, query.answers) == (False, True, ())
    assert (answer.is_answer, answer.is_outgoing, answer.answers) == (True, False, ("203.0.113.5",))
    assert not teller.has_lost


@pytest.mark.parametrize(
    "data",
    [
        b"rubbish",
        ipv4(udp(b"rubbish")),
        ipv4(udp(a_query(), (53, 40_000))),  # a query from the server's port
        ipv4(udp(an_answer(), (40_000, 53))),
    ],
)
def test_what_cannot_be_read_is_counted(data: bytes) -> None:
    teller = DnsTeller()

    assert teller.seen(a_packet(data)) is None
    assert teller.take_lost(0) == DnsLost(0, 1, 0)


def test_a_segment_that_carries_nothing_is_no_loss() -> None:
    teller = DnsTeller()

    assert teller.seen(a_packet(ipv4(tcp(b""), 6))) is None
    assert not teller.has_lost


LONGEST = b"".join(b"\x3f" + b"\xff" * 63 for _ in range(3)) + b"\x3c" + b"\xff" * 60 + b"\0"
RECORDS = st.lists(
    st.builds(
        a_record,
        st.sampled_from([1, 2, 5, 12, 15, 16, 28, 33, 39, 64, 65, 99]),
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from([b"\xff" * 6 + LONGEST, b"\xff\xff" + LONGEST, LONGEST]),
        ),
    ),
    max_size=40,
)


@given(data=st.binary(max_size=200), records=RECORDS)
def test_whatever_comes_what_is_told_is_what_sense_takes(data: bytes, records: list[bytes]) -> None:
    teller = DnsTeller()
    answer, longest = an_answer(*records), a_record(33, b"\xff" * 6 + LONGEST)
    for payload in (data, answer, an_answer(longest), answer + data):
        for ports in ((40_000, 53), (53, 40_000)):
            seen = teller.seen(a_packet(ipv4(udp(payload, ports))))
            if seen is not None:
                packed = encode_dns(seen)
                assert len(packed) <= FRAME_BYTES_MAX
                assert decode_dns(packed) == seen
    assert teller.seen(a_packet(ipv4(udp(an_answer(longest), (53, 40_000))))) is not None


def test_losses_are_told_now_and_then_and_all_of_them() -> None:
    teller = DnsTeller()
    teller.dropped(3)

    first = teller.take_lost(0)
    teller.omitted(2)
    teller.seen(a_packet(b"rubbish"))
    soon, later = teller.take_lost(LOST_EVERY_NS - 1), teller.take_lost(LOST_EVERY_NS)

    assert first == DnsLost(3, 0, 0)
    assert soon is None
    assert later == DnsLost(0, 1, 2)
    assert teller.take_lost(LOST_EVERY_NS * 3) is None


def test_a_burst_is_read_and_then_a_rate() -> None:
    pace = Pace()
    now = 100 * NS_PER_S

    burst = pace.take(BURST_PACKETS_MAX * 2, now)
    none = pace.take(10, now)
    second = pace.take(BURST_PACKETS_MAX, now + NS_PER_S)
    pace.give_back(second)
    again = pace.take(BURST_PACKETS_MAX, now + NS_PER_S)

    assert (burst, none) == (BURST_PACKETS_MAX, 0)
    assert second == again == PACKETS_PER_S_MAX
