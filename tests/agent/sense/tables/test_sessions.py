"""Sessions are those of logind and the logins of utmp."""

import struct
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.tables import sessions
from tests.agent.sense.tables.views import looking_at, shown, write

SESSION = b"""\
# This is private data. Do not parse.
UID=1000
USER=alice
ACTIVE=1
STATE=active
REMOTE=1
TYPE=tty
CLASS=user
REMOTE_HOST=192.0.2.7
SERVICE=sshd
LEADER=900
REALTIME=1700000000000000
"""


def an_entry(kind: int, user: bytes, address: bytes = bytes(16)) -> bytes:
    return struct.pack(
        "<hxxi32s4s32s256shhiii16s20x",
        kind, 900, b"pts/0", b"ts/0", user, b"host.example", 0, 0, 3, 1_700_000_000, 5, address,
    )  # fmt: skip


def test_a_session_of_logind_is_a_row(tmp_path: Path) -> None:
    looking = looking_at(write(tmp_path, {"run/systemd/sessions/3": SESSION}))

    (row,) = shown(sessions.TABLE, looking)

    assert (row["user"], row["uid"], row["remote_host"]) == ("alice", 1000, "192.0.2.7")
    assert (row["since"], row["tty"]) == (1_700_000_000 * 10**9, None)
    assert looking.problems == []


def test_what_is_no_session_beside_them_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, {"run/systemd/sessions/3.ref": b"", "run/systemd/sessions/c1": SESSION})

    assert [row["session"] for row in shown(sessions.TABLE, looking_at(tmp_path))] == ["c1"]


def test_a_login_of_utmp_is_a_row_and_other_entries_are_not(tmp_path: Path) -> None:
    v6 = bytes.fromhex("20010db8000000000000000000000001")
    data = an_entry(2, b"reboot") + an_entry(7, b"bob", b"\xc0\0\2\7" + bytes(12))
    data += an_entry(7, b"eve", v6) + an_entry(8, b"") + b"torn"
    looking = looking_at(write(tmp_path, {"run/utmp": data}))

    bob, eve = shown(sessions.TABLE, looking)

    assert (bob["user"], bob["tty"], bob["remote_address"]) == ("bob", "pts/0", "192.0.2.7")
    assert eve["remote_address"] == "2001:db8::1"
    assert bob["since"] == 1_700_000_000 * 10**9 + 5000
    assert bob["session"] is None


def test_nobody_logged_in_is_not_nothing_to_be_seen(tmp_path: Path) -> None:
    blind = looking_at(tmp_path)
    assert shown(sessions.TABLE, blind) == []
    assert blind.problems

    (tmp_path / "run/systemd/sessions").mkdir(parents=True)
    idle = looking_at(tmp_path)

    assert shown(sessions.TABLE, idle) == []
    assert idle.problems == []


@given(st.binary(max_size=900))
def test_any_bytes_give_sessions(data: bytes) -> None:
    assert set(sessions.parse_session("1", data)) <= set(sessions.TABLE.columns)
    for row in sessions.parse_utmp(data):
        assert set(row) <= set(sessions.TABLE.columns)


@given(st.binary(min_size=382, max_size=382))
def test_any_login_gives_a_row(data: bytes) -> None:
    for row in sessions.parse_utmp(struct.pack("=h", 7) + data):
        assert isinstance(row["since"], int)
