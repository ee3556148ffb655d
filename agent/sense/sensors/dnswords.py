"""The words for numbers of DNS; what has none keeps its number.

Source: IANA, Domain Name System (DNS) Parameters; RFC 3597 section 5.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_TYPES: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: "A",
        2: "NS",
        5: "CNAME",
        6: "SOA",
        12: "PTR",
        15: "MX",
        16: "TXT",
        28: "AAAA",
        33: "SRV",
        35: "NAPTR",
        39: "DNAME",
        43: "DS",
        44: "SSHFP",
        46: "RRSIG",
        47: "NSEC",
        48: "DNSKEY",
        50: "NSEC3",
        52: "TLSA",
        64: "SVCB",
        65: "HTTPS",
        99: "SPF",
        251: "IXFR",
        252: "AXFR",
        255: "ANY",
        257: "CAA",
    }
)
_CODES: Final = (
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "YXRRSET",
    "NXRRSET",
    "NOTAUTH",
    "NOTZONE",
)


def type_word(number: int) -> str:
    """Return the mnemonic of a type that was asked for."""
    return _TYPES.get(number) or f"TYPE{number}"


def code_word(number: int) -> str:
    """Return the mnemonic of an answer's code."""
    return _CODES[number] if number < len(_CODES) else f"RCODE{number}"
