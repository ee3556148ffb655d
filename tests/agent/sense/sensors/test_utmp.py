"""The structures of session records are read as glibc lays them out, whatever they hold."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from agent.sense.sensors.utmp import (
    LASTLOG_BYTES,
    RECORD_BYTES,
    USER_PROCESS,
    Session,
    parse_lastlog,
    parse_session,
)
from proto.model import Login, User
from tests.agent.sense.sensors.sessions import a_record


@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::1", ""])
def test_a_record_is_who_where_from_and_when(address: str) -> None:
    found = parse_session(a_record(host="bastion", address=address))

    at = 1_700_000_000 * 10**9 + 500_000
    assert found == Session(USER_PROCESS, 42, "pts/0", "alice", "bastion", address, at)


def test_a_record_becomes_a_login_and_what_is_not_there_is_said() -> None:
    named, local = parse_session(a_record(host="bastion")), parse_session(a_record(""))

    assert named is not None
    assert local is not None
    assert named.login("opened") == Login(
        session=42, tty="pts/0", remote_address="bastion", outcome="opened", user=User(name="alice")
    )
    assert local.login("closed").remote_address is None
    assert local.login("closed").user == User(name=UNSET)


def test_lastlog_is_a_record_a_number_and_empty_ones_are_none() -> None:
    one = struct.pack("<I32s256s", 1_700_000_000, b"pts/1", b"host")

    found = dict(parse_lastlog(bytes(LASTLOG_BYTES) + one + one[:-1], 1000))

    assert list(found) == [1001]
    assert (found[1001].line, found[1001].host) == ("pts/1", "host")


def test_this_hosts_records_have_the_size_we_read() -> None:
    wtmp = Path("/var/log/wtmp")
    if not wtmp.exists():
        pytest.skip("this host has no wtmp")

    assert wtmp.stat().st_size % RECORD_BYTES == 0


@given(data=st.binary(max_size=600) | st.binary(min_size=384, max_size=384))
def test_any_bytes_are_a_record_or_none(data: bytes) -> None:
    found = parse_session(data)

    assert (found is not None) == (len(data) == RECORD_BYTES)
    if found is not None:
        assert 0 <= found.at < 1 << 63
        found.login("opened")
    assert all(uid >= 0 for uid, _ in parse_lastlog(data))
