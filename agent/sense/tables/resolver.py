"""How this host turns names into addresses: resolv.conf, hosts and nsswitch.conf.

Source: resolv.conf(5), hosts(5), nsswitch.conf(5).
"""

from collections.abc import Iterator
from typing import Final

from agent.sense.tables.table import Looking, Row, Table, as_text

FILE_BYTES_MAX: Final = 4 << 20
LINES_MAX: Final = 50_000

_RESOLV: Final = "/etc/resolv.conf"
_HOSTS: Final = "/etc/hosts"
_NSSWITCH: Final = "/etc/nsswitch.conf"
_NAME_SERVICES: Final = frozenset(
    {b"hosts", b"passwd", b"group", b"shadow", b"sudoers", b"netgroup"}
)


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a name server, option, host and name service."""
    for path, parse in ((_RESOLV, parse_resolv), (_HOSTS, parse_hosts), (_NSSWITCH, parse_nss)):
        data = looking.need(path, FILE_BYTES_MAX)
        for key, values in parse(data or b""):
            yield {"file": path, "key": key, "values": values}


def parse_resolv(data: bytes) -> Iterator[tuple[str, list[str]]]:
    """Yield the settings of a resolv.conf."""
    for words in _lines(data, b"#;"):
        if len(words) > 1:
            yield as_text(words[0].lower()), [as_text(word) for word in words[1:]]


def parse_hosts(data: bytes) -> Iterator[tuple[str, list[str]]]:
    """Yield the addresses of a hosts file, each with its names."""
    for words in _lines(data, b"#"):
        if len(words) > 1:
            yield as_text(words[0]), [as_text(word) for word in words[1:]]


def parse_nss(data: bytes) -> Iterator[tuple[str, list[str]]]:
    """Yield the name services that concern hosts and accounts."""
    for words in _lines(data.replace(b":", b": "), b"#"):
        key = words[0].rstrip(b":")
        if key in _NAME_SERVICES:
            yield key.decode(), [as_text(word) for word in words[1:]]


def _lines(data: bytes, comments: bytes) -> Iterator[list[bytes]]:
    for line in data.split(b"\n")[:LINES_MAX]:
        for mark in comments:
            line = line.partition(bytes([mark]))[0]  # noqa: PLW2901  (what is left of it)
        if words := line.split():
            yield words


TABLE: Final = Table(
    text="name servers, the hosts file, and which name services are asked",
    columns={
        "file": "where it stands",
        "key": "setting of resolv.conf, address of hosts, or kind of name of nsswitch.conf",
        "values": "what is set, the names of the address, or the services in their order",
    },
    rows=rows,
)
