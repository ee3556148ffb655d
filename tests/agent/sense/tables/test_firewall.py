"""A chain's digest moves when a rule does, and not when a packet passes."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.tables import firewall
from agent.sense.tables.live import is_network_of
from tests.agent.sense.tables.test_netlink import an_attribute
from tests.agent.sense.tables.views import looking_at, shown, write

NESTED = 0x8000


def be(value: int) -> bytes:
    return struct.pack(">i", value)


def a_chain(family: int = 2, *, is_base: bool = True) -> bytes:
    hook = an_attribute(1, be(1)) + an_attribute(2, be(-5))
    base = an_attribute(4 | NESTED, hook) + an_attribute(5, be(0)) + an_attribute(7, b"filter\0")
    named = an_attribute(1, b"t\0") + an_attribute(3, b"in\0")
    return bytes([family, 0, 0, 0]) + named + (base if is_base else b"")


def a_rule(*expressions: tuple[bytes, bytes], handle: int = 1) -> bytes:
    listed = b"".join(
        an_attribute(1 | NESTED, an_attribute(1, name + b"\0") + an_attribute(2 | NESTED, data))
        for name, data in expressions
    )
    return (
        b"\2\0\0\0"
        + an_attribute(1, b"t\0")
        + an_attribute(2, b"in\0")
        + an_attribute(3, struct.pack(">Q", handle))
        + an_attribute(4 | NESTED, listed)
    )


def test_a_base_chain_has_hook_priority_and_policy_and_others_have_none() -> None:
    base, other = firewall.parse_chain(a_chain()), firewall.parse_chain(a_chain(is_base=False))

    assert base == {
        "kind": "nf_tables",
        "family": "ip",
        "table": "t",
        "chain": "in",
        "type": "filter",
        "hook": "input",
        "priority": -5,
        "policy": "drop",
    }
    assert other is not None
    assert (other["hook"], other["policy"]) == (None, None)


@pytest.mark.parametrize(("family", "hook"), [(5, "egress"), (3, "output"), (10, "input")])
def test_a_hook_is_named_as_its_family_names_it(family: int, hook: str) -> None:
    row = firewall.parse_chain(a_chain(family))

    assert row is not None
    assert row["hook"] == hook


def test_counters_and_handles_are_no_part_of_a_rule_and_everything_else_is() -> None:
    quiet = firewall.parse_rule(a_rule((b"counter", b"0000"), (b"cmp", b"abcd"), handle=1))
    busy = firewall.parse_rule(a_rule((b"counter", b"9999"), (b"cmp", b"abcd"), handle=9))
    other = firewall.parse_rule(a_rule((b"counter", b"0000"), (b"cmp", b"abce")))

    assert quiet is not None
    assert quiet == busy
    assert other is not None
    assert (quiet[0], quiet[1] == other[1]) == (("ip", "t", "in"), False)


def test_tables_of_old_iptables_are_named_and_said_not_to_be_read(tmp_path: Path) -> None:
    looking = looking_at(write(tmp_path, {"proc/self/net/ip_tables_names": "nat\nfilter\n"}))

    rows = list(firewall.legacy_rows(looking))

    assert [(row["kind"], row["family"], row["table"]) for row in rows] == [
        ("iptables", "ip", "nat"),
        ("iptables", "ip", "filter"),
    ]
    assert len(looking.problems) == 1


def test_a_chain_comes_with_the_number_and_a_digest_of_its_rules() -> None:
    chains = [(0xA03, a_chain()), (3, b"")]
    rules = [(0xA06, a_rule((b"cmp", value))) for value in (b"abcd", b"efgh")]

    (row,) = firewall.chain_rows(chains, rules)
    (turned,) = firewall.chain_rows(chains, rules[::-1])
    (none,) = firewall.chain_rows(chains, [])

    assert (row["rules"], none["rules"]) == (2, 0)
    assert len({row["sha256"], turned["sha256"], none["sha256"]}) == 3


def test_one_digest_stands_for_all_chains_whatever_their_order() -> None:
    one, two = (next(firewall.chain_rows([(0xA03, a_chain(family))], [])) for family in (2, 10))

    assert firewall.digest([one, two]) == firewall.digest([two, one])
    assert firewall.digest([one]) != firewall.digest([two])
    assert firewall.sum_of([one | {"rules": 2}, two | {"rules": 3}]) == 5


def test_this_host_is_read_or_said_not_to_be() -> None:
    if not is_network_of(HostRoot("/")):
        pytest.skip("our network is not the host's")
    looking = looking_at(Path("/"))

    rows = shown(firewall.TABLE, looking)

    assert (rows or [{}])[-1].get("kind") == "digest" or looking.problems


@given(st.binary(max_size=200))
def test_any_bytes_are_a_chain_and_a_rule_or_none(data: bytes) -> None:
    for body in (data, a_chain()[:4] + data, a_rule((b"cmp", data))):
        chain = firewall.parse_chain(body)
        assert chain is None or set(chain) <= set(firewall.TABLE.columns)
        firewall.parse_rule(body)


@pytest.mark.root
def test_rules_that_the_kernel_holds_are_read_from_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_NETWORK_OF_ITS_OWN],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    if done.returncode == _SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr

    (row,) = json.loads(done.stdout)

    assert (row["table"], row["chain"], row["hook"]) == ("vedette", "in", "input")
    assert (row["policy"], row["priority"], row["rules"]) == ("accept", -5, 1)


_SKIPPED = 77

# A table with one chain and one rule, "counter drop", made in a network that ends with the process.
_IN_A_NETWORK_OF_ITS_OWN = """
import ctypes, json, socket, struct, sys
from agent.sense.tables import firewall
from agent.sense.tables.netlink import NetlinkRefused, dump

def skip(why):
    print(why)
    sys.exit(77)

if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
    skip("a network of its own needs root")
lane = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
lane.bind((0, 0))
lane.settimeout(5)

def attr(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)

def be(number):
    return struct.pack(">i", number)

def message(kind, flags, body):
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body

nested, nft, table = 0x8000, 10 << 8, attr(1, b"vedette\\0")
hook = attr(1, be(1)) + attr(2, be(-5))
chain = table + attr(3, b"in\\0") + attr(4 | nested, hook) + attr(5, be(1)) + attr(7, b"filter\\0")
verdict = attr(1, be(0)) + attr(2 | nested, attr(2 | nested, attr(1, be(0))))
expressions = b"".join(
    attr(1 | nested, attr(1, name) + attr(2 | nested, data))
    for name, data in ((b"counter\\0", b""), (b"immediate\\0", verdict))
)
rule = table + attr(2, b"in\\0") + attr(4 | nested, expressions)
ip = b"\\2\\0\\0\\0"
lane.send(
    message(16, 1, b"\\0\\0\\0\\x0a")
    + message(nft | 0, 0x401, ip + table)
    + message(nft | 3, 0x401, ip + chain)
    + message(nft | 6, 0xC05, ip + rule)
    + message(17, 1, b"\\0\\0\\0\\x0a")
)
answer = lane.recv(65536)
number = struct.unpack_from("=i", answer, 16)[0]
if number:
    skip(f"the kernel makes no such table: {number}")
request = struct.pack(">BBH", 0, 0, 0)
try:
    chains = list(dump(12, nft | 4, request))
    rows = list(firewall.chain_rows(chains, dump(12, nft | 7, request)))
except NetlinkRefused as error:
    skip(error.message)
print(json.dumps(rows))
"""
