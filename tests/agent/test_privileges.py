"""The laws of giving privileges up, seen from a child that does it."""

import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.privileges import CAPABILITIES, NoSuchUser, group_id, held, user_id
from agent.sense.profiles import PROFILES

USER, GROUP = "61001", "61003"
LAST_CAPABILITY = 40
STANDARD = PROFILES["standard"]
KEEP, KEPT = STANDARD.needs, STANDARD.keeps
ID_MAX = 2**32 - 2

TELL = """
import json, os, sys
def tell():
    lines = open("/proc/self/status").read().splitlines()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    def refused(call, *words):
        try:
            call(*words)
        except PermissionError:
            return True
        return False
    json.dump({
        "uids": found["Uid"].split(), "gids": found["Gid"].split(), "groups": found["Groups"],
        **{name: int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")},
        "no_new_privs": int(found["NoNewPrivs"]),
        "refused": [refused(os.setuid, 0), refused(os.setgid, 0), refused(os.setgroups, [0])],
        "dumpable": __import__("ctypes").CDLL(None).prctl(3, 0, 0, 0, 0),
    }, sys.stdout)
"""


def child(program: str) -> Any:  # noqa: ANN401  (whatever JSON holds)
    done = subprocess.run(
        [sys.executable, "-c", TELL + program],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
        env={"PYTHONPATH": str(Path.cwd())},
    )
    return json.loads(done.stdout)


def test_one_capability_is_lent_to_a_program_and_not_to_the_next() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    found = child(
        "import subprocess\n"
        "from agent.privileges import become, lent\n"
        f"become('{USER}', '{GROUP}', ('audit_control', 'sys_ptrace'))\n"
        "def told():\n"
        "    text = subprocess.run(['cat', '/proc/self/status'], capture_output=True).stdout\n"
        "    lines = dict(line.split(b':', 1) for line in text.splitlines() if b':' in line)\n"
        "    return [int(lines[name], 16) for name in (b'CapPrm', b'CapEff', b'CapAmb')]\n"
        "before = told()\n"
        "with lent('audit_control'):\n    during = told()\n"
        "with lent('net_raw'):\n    not_held = told()\n"
        "own = [line for line in open('/proc/self/status') if line.startswith('CapPrm')]\n"
        "json.dump([before, during, not_held, told(), int(own[0].split()[1], 16)], sys.stdout)\n"
    )

    nothing = [0, 0, 0]
    both = bits({"audit_control", "sys_ptrace"})
    assert found == [nothing, [bits({"audit_control"})] * 3, nothing, nothing, both]


def bits(names: set[str]) -> int:
    return sum(1 << CAPABILITIES[name] for name in names)


@pytest.mark.root
def test_a_process_that_became_another_user_holds_exactly_what_it_kept() -> None:
    mine = held()

    found = child(f"from agent.privileges import become; become('61001', '61003', {KEEP}); tell()")

    kept = bits(mine & set(KEEP))
    assert found["uids"] == [USER] * 4
    assert found["gids"] == [GROUP] * 4
    assert found["groups"].split() == []
    assert (found["CapPrm"], found["CapEff"]) == (kept, kept)
    assert (found["CapInh"], found["CapAmb"]) == (0, 0)


@pytest.mark.root
def test_nothing_that_was_given_up_can_be_regained() -> None:
    found = child("from agent.privileges import become; become('61001', '61003'); tell()")

    assert found["refused"] == [True, True, True]
    assert found["no_new_privs"] == 1
    assert found["dumpable"] == 0
    assert found["CapPrm"] == 0


@pytest.mark.root
def test_a_program_started_afterwards_has_no_capability() -> None:
    program = (
        "from agent.privileges import become; become('61001', '61003', ('dac_read_search',));"
        "import subprocess; sys.stdout.write(json.dumps("
        "subprocess.run(['cat', '/proc/self/status'], capture_output=True, text=True).stdout))"
    )

    status = dict(line.split(":", 1) for line in child(program).splitlines() if ":" in line)

    assert [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")] == [0, 0, 0]
    assert status["Uid"].split() == [USER] * 4


@pytest.mark.root
def test_what_only_starting_needs_is_dropped_after_it() -> None:
    mine = held()

    found = child(
        f"from agent.privileges import become, keep_only; become('61001', '61003', {KEEP});"
        f"keep_only({KEPT}); keep_only({KEPT}); tell()"
    )

    kept = bits(mine & set(KEPT))
    assert (found["CapPrm"], found["CapEff"]) == (kept, kept)


@pytest.mark.root
def test_what_is_not_on_the_list_is_given_up_whether_we_know_its_name_or_not() -> None:
    found = child("from agent.privileges import keep_only; keep_only(('sys_ptrace',)); tell()")

    kept = bits(held() & {"sys_ptrace"})
    assert (found["CapPrm"], found["CapEff"]) == (kept, kept)
    assert found["uids"] == [str(os.getuid())] * 4


@pytest.mark.root
def test_a_capability_nobody_knows_is_not_kept() -> None:
    found = child(
        "from agent.privileges import become; become('61001', '61003', ('sys_boot',)); tell()"
    )

    assert found["CapPrm"] == 0


def test_a_process_that_stays_who_it_is_seals_itself_all_the_same() -> None:
    found = child("from agent.privileges import seal_privileges; seal_privileges(); tell()")

    assert found["no_new_privs"] == 1
    assert found["dumpable"] == 0
    assert found["CapAmb"] == 0
    assert found["uids"] == [str(os.getuid())] * 4


def test_becoming_somebody_who_is_not_there_changes_nothing() -> None:
    before = child("tell()")

    found = child(
        "from agent.privileges import become, NoSuchUser\n"
        "try:\n"
        "    become('no-such-user', '61003')\n"
        "except NoSuchUser:\n"
        "    tell()\n"
    )

    assert found == before


def test_every_capability_has_the_number_of_the_kernel() -> None:
    assert len(set(CAPABILITIES.values())) == len(CAPABILITIES)
    assert all(0 <= bit <= LAST_CAPABILITY for bit in CAPABILITIES.values())
    assert all(set(profile.needs) <= set(CAPABILITIES) for profile in PROFILES.values())


def test_a_user_and_a_group_are_found_by_name_and_by_number() -> None:
    me, mine = pwd.getpwuid(os.getuid()), grp.getgrgid(os.getgid())

    assert (user_id(me.pw_name), user_id("61001")) == (me.pw_uid, 61001)
    assert (group_id(mine.gr_name), group_id(str(ID_MAX))) == (mine.gr_gid, ID_MAX)


@pytest.mark.parametrize(
    "name", ["", "no-such-user", "-1", "²", "٣", str(ID_MAX + 1), "9" * 5000, "a\0b", "\ud800"]
)
def test_who_is_not_on_this_host_is_a_bad_setting(name: str) -> None:
    for found in (user_id, group_id):
        with pytest.raises(NoSuchUser) as caught:
            found(name)
        assert caught.value.exit_code == 4


@given(st.text(max_size=20))
def test_any_name_is_an_id_the_kernel_takes_or_nobody(name: str) -> None:
    try:
        found = user_id(name)
    except NoSuchUser:
        return

    assert 0 <= found <= ID_MAX
