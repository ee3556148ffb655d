from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from agent.hostroot import HostRoot
from agent.sense.sensors.accounts import REFRESH_INTERVAL_S, Accounts, parse_passwd
from proto.model import User
from tests.fakes.clock import FakeClock


def a_host(folder: Path, passwd: str) -> Path:
    (folder / "etc").mkdir(exist_ok=True)
    path = folder / "etc" / "passwd"
    path.write_text(passwd)
    return path


def test_a_known_number_has_a_name_and_another_has_none_collected(tmp_path: Path) -> None:
    a_host(tmp_path, "root:x:0:0::/:/bin/sh\n")
    accounts = Accounts(HostRoot(tmp_path), FakeClock())

    assert accounts.user(0) == User(uid=0, name="root")
    assert accounts.user(7) == User(uid=7, name=UNSET)


def test_a_new_account_is_known_a_minute_later_at_the_latest(tmp_path: Path) -> None:
    path = a_host(tmp_path, "root:x:0:0::/:/bin/sh\n")
    clock = FakeClock()
    accounts = Accounts(HostRoot(tmp_path), clock)
    accounts.user(7)

    with path.open("a") as file:
        file.write("mallory:x:7:7::/:/bin/sh\n")
    before = accounts.user(7)
    clock.forward(REFRESH_INTERVAL_S)

    assert before.name is UNSET
    assert accounts.user(7).name == "mallory"


def test_a_host_without_accounts_names_none(tmp_path: Path) -> None:
    assert Accounts(HostRoot(tmp_path), FakeClock()).user(0) == User(uid=0)


def test_the_first_name_of_a_number_counts_and_lines_that_are_none_do_not() -> None:
    data = (
        b"toor:x:0:0::/:/bin/sh\nroot:x:0:0::/:/bin/sh\n:x:5:5::\n+nis\nbad:x:x:1::\n"
        b"big:x:99999999999:1::\nmore:x:4294967296:1::\n\xff:x:6:6::\n"
    )

    assert parse_passwd(data) == {0: "toor", 6: "\\xff"}


@given(data=st.binary(max_size=300) | st.from_regex(rb"\A([^:]{0,4}:x:[0-9]{0,12}:\n?){0,6}\Z"))
def test_any_bytes_are_accounts_or_none(data: bytes) -> None:
    assert all(0 <= uid < 1 << 32 for uid in parse_passwd(data))
