"""A DNS message as the schema has it: words for numbers, text for addresses."""

import socket

from agent.dnsframes import DnsSeen
from agent.sense.sensors.dnswords import code_word, type_word
from proto.model import DnsMessage, Endpoint


def address_text(raw: bytes) -> str:
    """Return an address of 4 or 16 bytes as text."""
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def message_of(seen: DnsSeen) -> DnsMessage:
    """Return what was seen; the local side of its endpoint is the one that asks."""
    protocol = "tcp" if seen.is_tcp else "udp"
    return DnsMessage(
        name=seen.name,
        qtype=type_word(seen.qtype),
        code=code_word(seen.code) if seen.is_answer else None,
        answers=seen.answers,
        endpoint=Endpoint(
            protocol=protocol if len(seen.client) == 4 else f"{protocol}6",
            local_address=address_text(seen.client),
            local_port=seen.client_port,
            remote_address=address_text(seen.server),
            remote_port=seen.server_port,
        ),
    )
