import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.auditfields import AuditError
from agent.sense.sensors.auditrule import (
    AuditStatus,
    Owner,
    Rule,
    own_rules,
    owner_of,
    parse_rule,
    parse_status,
)

ARCH, ARCH_64 = 11, 0xC000003E
OWNER = Owner(4242, 1_000_000_000)
KEY_FIELD, EXE_FIELD, EQUAL = 210, 112, 0x40000000


def a_rule(
    *,
    flags: int = 4,
    action: int = 2,
    calls: frozenset[int] = frozenset({59}),
    fields: tuple[tuple[int, int, int], ...] = (),
    strings: bytes = b"",
) -> Rule:
    return Rule(flags, action, calls, fields, strings)


RULES = st.builds(
    a_rule,
    flags=st.integers(0, 7),
    action=st.integers(0, 2),
    calls=st.frozensets(st.integers(0, 2047), max_size=8),
    fields=st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 3), max_size=64).map(tuple),
    strings=st.binary(max_size=64),
)


@given(RULES)
def test_a_rule_comes_back_as_it_was_packed(rule: Rule) -> None:
    assert parse_rule(rule.pack()) == rule


@given(st.binary(max_size=1400))
def test_any_bytes_are_a_rule_or_refused(data: bytes) -> None:
    with contextlib.suppress(AuditError):
        assert isinstance(parse_rule(data).key, bytes)
    with contextlib.suppress(AuditError):
        parse_status(data)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_our_rules_ask_for_execs_of_both_architectures_under_our_name(machine: str) -> None:
    rules = own_rules(machine, OWNER)

    assert len(rules) == 2
    assert all(rule.key == OWNER.key and rule.tells_execs for rule in rules)
    assert len({rule.fields[0][1] for rule in rules}) == 2
    assert rules[0].pack()[:12] == struct.pack("=III", 4, 2, 2)


def test_a_rule_names_its_owner_and_one_of_the_host_has_none() -> None:
    rule = own_rules("x86_64", OWNER)[0]
    other = a_rule(fields=rule.fields, strings=rule.strings)

    assert owner_of(rule, "x86_64") == OWNER
    assert owner_of(other, "x86_64") is None
    assert owner_of(a_rule(), "x86_64") is None


def test_of_an_unknown_machine_we_have_no_rule() -> None:
    assert own_rules("riscv64", OWNER) == ()


def test_the_name_of_a_rule_is_its_last_string() -> None:
    fields = ((EXE_FIELD, 8, EQUAL), (KEY_FIELD, 4, EQUAL))

    assert a_rule(fields=fields, strings=b"/bin/cpyexec").key == b"exec"
    assert a_rule(fields=fields[:1], strings=b"/bin/cpy").key == b""


def test_only_a_rule_that_always_records_at_the_end_of_a_call_tells_of_execs() -> None:
    assert a_rule().tells_execs
    assert not a_rule(action=0).tells_execs
    assert not a_rule(flags=1).tells_execs
    assert not a_rule(calls=frozenset({2})).tells_execs


def test_only_a_rule_without_a_condition_tells_of_every_exec() -> None:
    ours = own_rules("x86_64", OWNER)
    calls = frozenset({59, 322})
    of_users = a_rule(calls=calls, fields=((ARCH, ARCH_64, EQUAL), (9, 1000, EQUAL)))

    assert ours[0].tells_every_exec("x86_64")
    assert not ours[1].tells_every_exec("x86_64")
    assert not ours[0].tells_every_exec("riscv64")
    assert a_rule(calls=calls).tells_every_exec("x86_64")
    assert not a_rule().tells_every_exec("x86_64")
    assert not of_users.tells_every_exec("x86_64")


def test_a_rule_that_turns_every_task_off_silences_all() -> None:
    assert a_rule(flags=1, action=0, calls=frozenset()).silences_all
    assert not a_rule(flags=4, action=0).silences_all
    assert not a_rule(flags=1, action=0, fields=((1, 0, EQUAL),)).silences_all


def test_a_status_tells_whether_auditing_is_on_and_who_reads_it() -> None:
    found = parse_status(struct.pack("=10I", 0, 2, 1, 812, 0, 64, 9, 0, 127, 15_000))

    assert found == AuditStatus(enabled=2, daemon_pid=812, lost=9)
    assert found.is_locked


def test_a_status_cut_short_is_refused() -> None:
    with pytest.raises(AuditError):
        parse_status(bytes(31))
