import pytest

from agent.sense.sensors.dnsendpoint import address_text, message_of
from proto.model import DnsMessage, Endpoint
from tests.agent.test_dnsframes import a_sighting


def test_an_answer_has_words_and_both_ends() -> None:
    assert message_of(a_sighting(code=3, qtype=28)) == DnsMessage(
        name="www.example.org",
        qtype="AAAA",
        code="NXDOMAIN",
        answers=("203.0.113.5",),
        endpoint=Endpoint("udp", "192.0.2.10", 40_000, "192.0.2.53", 53),
    )


def test_a_query_has_no_code() -> None:
    assert message_of(a_sighting(is_answer=False)).code is None


@pytest.mark.parametrize(
    ("is_tcp", "size", "protocol"),
    [(False, 4, "udp"), (True, 4, "tcp"), (False, 16, "udp6"), (True, 16, "tcp6")],
)
def test_the_protocol_is_that_of_sockets(size: int, protocol: str, *, is_tcp: bool) -> None:
    seen = a_sighting(is_tcp=is_tcp, client=bytes(size), server=bytes(size))

    endpoint = message_of(seen).endpoint

    assert isinstance(endpoint, Endpoint)
    assert endpoint.protocol == protocol
    assert endpoint.remote_address == address_text(bytes(size))
