import pytest

from agent.dnsframes import DnsLost
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
