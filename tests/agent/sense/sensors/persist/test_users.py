"""Accounts are told with nothing of their passwords but whether there is one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.persist.items import key_of
from agent.sense.sensors.persist.users import (
    parse_accounts,
    parse_group,
    parse_shadow,
    password_state,
    read,
)
from proto.model import User
from tests.agent.sense.sensors.persist.looking import a_look, found_by, put, said

HASH = "$6$saltsalt$QmxvY2tlZEhhc2hPZlNvbWVQYXNzd29yZA"


def a_host(root: Path) -> Path:
    put(
        root,
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:27:Alice A:/home/alice:/bin/sh\n",
    )
    put(root, "/etc/shadow", f"root:*:19000:0:99999:7:::\nalice:{HASH}:20100:0:99999:7:::\n")
    put(root, "/etc/group", "root:x:0:\nsudo:x:27:bob,bob\n")
    return root


def test_users_groups_and_members_are_told(tmp_path: Path) -> None:
    told = said(found_by(read, a_host(tmp_path)))

    assert told == [
        (
            "user",
            "root",
            "uid=0 gid=0 home=/root shell=/bin/bash password=locked password_day=19000",
        ),
        (
            "user",
            "alice",
            "uid=1000 gid=27 home=/home/alice shell=/bin/sh password=set password_day=20100",
        ),
        ("group", "root", "gid=0"),
        ("group", "sudo", "gid=27"),
        ("group_member", "sudo", "bob"),
        ("group_member", "sudo", "alice"),
    ]


def test_nothing_of_a_password_leaves_but_its_state_and_day(tmp_path: Path) -> None:
    assert "$6$" not in str(found_by(read, a_host(tmp_path)))
    assert "$6$" not in str(parse_shadow(f"a:{HASH}:1:::::\n".encode()))


def test_a_hash_in_passwd_itself_is_not_told_either(tmp_path: Path) -> None:
    put(tmp_path, "/etc/passwd", f"old:{HASH}:5:5::/:/bin/sh\nopen::6:6::/:/bin/sh\n")
    items = found_by(read, tmp_path)

    assert [str(item.value).rpartition(" ")[2] for item in items] == [
        "password=set",
        "password=empty",
    ]


def test_without_shadow_the_password_is_unknown(tmp_path: Path) -> None:
    put(tmp_path, "/etc/passwd", "a:x:5:5::/:/bin/sh\n")

    assert "password=unknown" in str(found_by(read, tmp_path))


def test_an_account_that_gets_another_number_is_another_one(tmp_path: Path) -> None:
    put(tmp_path, "/etc/passwd", "a:x:5:5::/:/bin/sh\na:x:0:0::/:/bin/sh\n")
    found = [one for one in read(a_look(tmp_path)) if one is not None]

    assert len({key_of("users", one) for one in found}) == 2
    assert [one.item.user for one in found] == [User(uid=5, name="a"), User(uid=0, name="a")]


@pytest.mark.parametrize(
    ("field", "state"),
    [(b"", "empty"), (b"!", "locked"), (b"*", "locked"), (b"!$6$x", "locked"), (b"$y$", "set")],
)
def test_a_password_field_is_one_of_three_words(field: bytes, state: str) -> None:
    assert password_state(field) == state


def test_lines_that_are_no_accounts_are_passed_over() -> None:
    data = b"+nis\n-x:x:1:1::/:\n#c:x:1:1::/:/\na:x:y:1::/:/\nb:x:1:99999999999::/:/\nc:x:1:1:/\n"

    assert parse_accounts(data) == []
    assert parse_group(b"+\na:x:z:\n:x:1:\nb:x:1\n") == []


def test_ten_thousand_users_are_all_told(tmp_path: Path) -> None:
    lines = (f"u{n}:x:{n}:{n}::/home/u{n}:/bin/sh\n" for n in range(1, 10_001))
    put(tmp_path, "/etc/passwd", "".join(lines))

    assert len(found_by(read, tmp_path)) == 10_000


@given(data=st.binary(max_size=400) | st.from_regex(rb"([^:\n]{0,3}(:[0-9x]{0,4}){2,7}\n){0,5}"))
def test_any_bytes_are_accounts_or_none(data: bytes) -> None:
    for account in parse_accounts(data):
        assert 0 <= account.uid < 1 << 32
        assert account.user.name
    assert all(0 <= team.gid < 1 << 32 for team in parse_group(data))
    states = {"empty", "locked", "set"}
    assert all(value.split()[0] in states for value in parse_shadow(data).values())
