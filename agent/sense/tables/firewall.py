"""Packet filters: chains of nf_tables with a digest of their rules, and tables of old iptables.

The digest of a chain covers its rules in their order, without handles and counters, so it moves
when a rule does and not when a packet passes; one digest stands for all chains. Rules that
iptables-nft made are among them.

Source: the kernel's include/uapi/linux/netfilter/{nfnetlink.h,nf_tables.h}; proc(5)
/proc/net/ip_tables_names.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from agent.sense.tables.live import is_network_of
from agent.sense.tables.netlink import NetlinkRefused, attributes, dump
from agent.sense.tables.table import Looking, Row, Table, as_text

CHAINS_MAX: Final = 20_000

_NETLINK_NETFILTER: Final = 12
_NFTABLES: Final = 10 << 8
_GETCHAIN, _NEWCHAIN = _NFTABLES | 4, _NFTABLES | 3
_GETRULE, _NEWRULE = _NFTABLES | 7, _NFTABLES | 6
# nfgenmsg: family, version, resource.
_MESSAGE: Final = struct.Struct(">BBH")
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 1, 3, 4, 5, 7
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
# Expressions whose data moves with every packet.
_MOVING: Final = frozenset({b"counter", b"quota", b"last", b"connlimit"})
_FAMILIES: Final = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_HOOKS: Final = dict(
    enumerate(("prerouting", "input", "forward", "output", "postrouting", "ingress"))
)
_NETDEV_HOOKS: Final = {0: "ingress", 1: "egress"}
_ARP_HOOKS: Final = {0: "input", 1: "output", 2: "forward"}
_POLICIES: Final = {0: "drop", 1: "accept"}
_LEGACY: Final = {"ip": "ip_tables_names", "ip6": "ip6_tables_names", "arp": "arp_tables_names"}
_NO_RULES: Final = (0, bytes(32))

_Key = tuple[str, str, str]
_Message = tuple[int, bytes]


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a chain of nf_tables, then one a table of old iptables."""
    if not is_network_of(looking.host):
        looking.missed("firewall: our network is not the host's")
        return
    request = _MESSAGE.pack(0, 0, 0)
    try:
        chains = list(dump(_NETLINK_NETFILTER, _GETCHAIN, request))
        rules = dump(_NETLINK_NETFILTER, _GETRULE, request)
        found = list(chain_rows(chains, rules))
        yield from found
        yield {"kind": "digest", "rules": sum_of(found), "sha256": digest(found)}
    except NetlinkRefused as error:
        looking.missed(f"firewall: nf_tables: {error.message}")
    yield from legacy_rows(looking)


def sum_of(chains: Iterable[Row]) -> int:
    """Return how many rules chains have together."""
    return sum(count for row in chains if isinstance(count := row["rules"], int))


def digest(chains: Iterable[Row]) -> str:
    """Return what hosts, or one host at two times, have in common if they filter alike."""
    lines = sorted(json.dumps(row, sort_keys=True) for row in chains)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def chain_rows(chains: Iterable[_Message], rules: Iterable[_Message]) -> Iterator[Row]:
    """Yield the chains of a dump with what a dump of rules says of them."""
    found: dict[_Key, tuple[int, bytes]] = {}
    for kind, body in rules:
        parsed = parse_rule(body) if kind == _NEWRULE else None
        if parsed is not None:
            key, raw = parsed
            count, digest = found.get(key, _NO_RULES)
            found[key] = count + 1, hashlib.sha256(digest + raw).digest()
    parsed_chains = (parse_chain(body) for kind, body in chains if kind == _NEWCHAIN)
    for row in islice((row for row in parsed_chains if row is not None), CHAINS_MAX):
        key = str(row["family"]), str(row["table"]), str(row["chain"])
        count, digest = found.get(key, _NO_RULES)
        yield row | {"rules": count, "sha256": digest.hex()}


def parse_chain(body: bytes) -> Row | None:
    """Return a chain of a message; None for a torn one."""
    if len(body) < _MESSAGE.size:
        return None
    number = body[0]
    found = dict(attributes(body, _MESSAGE.size))
    if _CHAIN_TABLE not in found or _CHAIN_NAME not in found:
        return None
    hook = dict(attributes(found.get(_CHAIN_HOOK, b"")))
    family = _FAMILIES.get(number, str(number))
    return {
        "kind": "nf_tables",
        "family": family,
        "table": _name(found[_CHAIN_TABLE]),
        "chain": _name(found[_CHAIN_NAME]),
        "type": _name(found[_CHAIN_TYPE]) if _CHAIN_TYPE in found else None,
        "hook": _hook(family, hook.get(_HOOK_NUMBER)),
        "priority": _signed(hook.get(_HOOK_PRIORITY)),
        "policy": _POLICIES.get(_signed(found.get(_CHAIN_POLICY)) or 0)
        if _CHAIN_POLICY in found
        else None,
    }


def parse_rule(body: bytes) -> tuple[_Key, bytes] | None:
    """Return the chain of a rule and what it does, without what packets move; None if torn."""
    if len(body) < _MESSAGE.size:
        return None
    found = dict(attributes(body, _MESSAGE.size))
    if _RULE_TABLE not in found or _RULE_CHAIN not in found:
        return None
    parts = []
    for _, element in attributes(found.get(_RULE_EXPRESSIONS, b"")):
        expression = dict(attributes(element))
        name = expression.get(_EXPRESSION_NAME, b"").rstrip(b"\0")
        data = b"" if name in _MOVING else expression.get(_EXPRESSION_DATA, b"")
        parts.append(struct.pack(">HI", len(name), len(data)) + name + data)
    family = _FAMILIES.get(body[0], str(body[0]))
    return (family, _name(found[_RULE_TABLE]), _name(found[_RULE_CHAIN])), b"".join(parts)


def legacy_rows(looking: Looking) -> Iterator[Row]:
    """Yield the tables of old iptables that are in use; their rules are not read, and said so."""
    for family, name in _LEGACY.items():
        data = looking.maybe(f"/proc/self/net/{name}")
        for table in (data or b"").split():
            yield {"kind": "iptables", "family": family, "table": as_text(table)}
        if data and data.split():
            looking.missed(f"firewall: rules of the old {family} tables are not read")


def _hook(family: str, data: bytes | None) -> str | None:
    number = _signed(data)
    if number is None:
        return None
    named = {"netdev": _NETDEV_HOOKS, "arp": _ARP_HOOKS}.get(family, _HOOKS)
    return named.get(number, str(number))


def _name(data: bytes) -> str:
    return as_text(data.rstrip(b"\0"))


def _signed(data: bytes | None) -> int | None:
    if data is None or len(data) != 4:
        return None
    return int.from_bytes(data, "big", signed=True)


TABLE: Final = Table(
    text="packet filter chains with a digest of the rules of each, and one of all",
    columns={
        "kind": "nf_tables, iptables for the old one, digest for the row that stands for all",
        "family": "ip, ip6, inet, arp, bridge or netdev",
        "table": "name of the table",
        "chain": "name of the chain; absent for the old one",
        "type": "filter, nat or route; null for a chain that only others jump to",
        "hook": "where packets meet it; null for a chain that only others jump to",
        "priority": "order among chains of one hook",
        "policy": "what becomes of a packet that no rule decides; null for a chain without a hook",
        "rules": "number of rules; of all chains behind the digest",
        "sha256": "digest of the rules in their order, without counters",
    },
    rows=rows,
    is_live=True,
    shown=("kind", "family", "table", "chain", "hook", "priority", "policy", "rules", "sha256"),
)
