import os
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.auditown import OwnRule
from agent.sense.sensors.auditrule import Owner, Rule, own_rules
from agent.sense.sensors.auditstate import (
    GONE,
    LEFT,
    LOCKED,
    NO_CONTROL,
    NO_DAEMON,
    NO_RULE,
    NOT_SET,
    OFF,
    Telling,
)
from agent.sense.sensors.procfs import NS_PER_TICK
from tests.agent.sense.sensors.hosts import a_process_dir, a_stat
from tests.fakes.audit import FakeAudit, FakeKeepers

MACHINE = "x86_64"
START_TICKS = 100
OURS = own_rules(MACHINE, Owner(os.getpid(), START_TICKS * NS_PER_TICK))
THEIRS = Rule(flags=4, action=2, calls=frozenset({59}), fields=(), strings=b"")
AUDITD = 812


@pytest.fixture
def root(tmp_path: Path) -> Path:
    a_process_dir(tmp_path, AUDITD)
    us = a_process_dir(tmp_path, os.getpid(), stat=a_stat(os.getpid(), start=START_TICKS))
    (tmp_path / "proc" / "self").symlink_to(us.name)
    return tmp_path


def own(
    root: Path, audit: FakeAudit, keepers: FakeKeepers | None = None, *, add: bool = True
) -> OwnRule:
    rule = OwnRule(HostRoot(root), audit, MACHINE, keepers or FakeKeepers(audit, MACHINE))
    rule.prepare(add=add)
    return rule


def test_where_auditd_runs_our_rule_is_there_until_we_close(root: Path) -> None:
    audit = FakeAudit(daemon_pid=AUDITD)
    audit.table = [THEIRS]

    rule = own(root, audit)
    during = list(audit.table)
    rule.close()
    rule.close()

    assert during == [THEIRS, *OURS]
    assert rule.limits == ()
    assert rule.telling is Telling.EVERY
    assert audit.table == [THEIRS]
    assert audit.is_closed


@pytest.mark.parametrize(
    ("enabled", "daemon", "limits"),
    [
        (1, 0, (NO_DAEMON, NO_RULE)),
        (1, 99, (NO_DAEMON, NO_RULE)),
        (2, AUDITD, (LOCKED, NO_RULE)),
        (0, 0, (NO_DAEMON, OFF)),
    ],
)
def test_elsewhere_none_is_added_and_the_reason_said(
    root: Path, enabled: int, daemon: int, limits: tuple[object, ...]
) -> None:
    audit = FakeAudit(enabled=enabled, daemon_pid=daemon)

    rule = own(root, audit)

    assert rule.limits == limits
    assert audit.table == []
    assert audit.is_closed


def test_a_rule_yields_nothing_where_auditing_is_off_and_that_is_said(root: Path) -> None:
    audit = FakeAudit(enabled=0, daemon_pid=AUDITD)

    rule = own(root, audit)

    assert rule.limits == (OFF,)
    assert audit.enabled == 0


def test_without_the_setting_only_the_rules_of_the_host_are_used(root: Path) -> None:
    audit = FakeAudit(daemon_pid=AUDITD)
    audit.table = [THEIRS]

    rule = own(root, audit, add=False)

    assert audit.table == [THEIRS]
    assert (rule.limits, rule.is_set) == ((), False)


@pytest.mark.parametrize("says_so", [True, False])
def test_when_auditd_goes_our_rule_goes(root: Path, *, says_so: bool) -> None:
    audit = FakeAudit(daemon_pid=AUDITD)
    keepers = FakeKeepers(audit, MACHINE)
    rule = own(root, audit, keepers)
    rule.look(auditd_left=False)
    before = (rule.is_set, keepers.started[0].daemon_pid)
    if not says_so:
        keepers.started[0].release()  # it watches auditd itself

    rule.look(auditd_left=says_so)

    assert before == (True, AUDITD)
    assert audit.table == []
    assert (rule.limits, rule.is_set) == ((GONE,), False)


def test_a_rule_that_cannot_be_removed_is_said_to_be_left(root: Path) -> None:
    audit = FakeAudit(daemon_pid=AUDITD)
    keepers = FakeKeepers(audit, MACHINE)
    rule = own(root, audit, keepers)
    keepers.is_stuck = True

    rule.look(auditd_left=True)

    assert rule.limits == (LEFT,)


def test_a_rule_that_nobody_would_keep_is_not_left_there(root: Path) -> None:
    audit = FakeAudit(daemon_pid=AUDITD)
    keepers = FakeKeepers(audit, MACHINE)
    keepers.refuses = True

    rule = own(root, audit, keepers)

    assert audit.table == []
    assert rule.limits == (NOT_SET, NO_RULE)
    assert not rule.is_set


def test_the_older_architecture_may_be_refused_but_not_the_main_one(root: Path) -> None:
    without_old, without_any = FakeAudit(daemon_pid=AUDITD), FakeAudit(daemon_pid=AUDITD)
    without_old.refuses = [OURS[1]]
    without_any.refuses = list(OURS)

    first, second = own(root, without_old), own(root, without_any)

    assert (first.limits, without_old.table) == ((), [OURS[0]])
    assert second.limits == (NOT_SET, NO_RULE)


def test_without_the_right_to_ask_that_is_what_is_missing(root: Path) -> None:
    audit = FakeAudit()
    audit.may_ask = False

    assert own(root, audit).limits == (NO_CONTROL,)
    nobody = OwnRule(HostRoot(root), None, MACHINE, FakeKeepers(audit, MACHINE))
    nobody.prepare(add=True)
    assert nobody.limits == (NO_CONTROL,)
    assert nobody.telling is Telling.UNKNOWN


def test_rules_of_an_agent_that_has_ended_are_removed_and_no_others(root: Path) -> None:
    named_like_ours = Rule(4, 2, frozenset({2}), OURS[0].fields, OURS[0].strings)
    reused = own_rules(MACHINE, Owner(AUDITD, 7))
    gone = own_rules(MACHINE, Owner(99, 7))
    audit = FakeAudit(daemon_pid=AUDITD)
    audit.table = [*gone, THEIRS, named_like_ours, *reused]

    own(root, audit, add=False)

    assert audit.table == [THEIRS, named_like_ours]


def test_a_second_agent_leaves_the_rule_of_a_running_one_alone(root: Path) -> None:
    running = own_rules(MACHINE, Owner(AUDITD, START_TICKS * NS_PER_TICK))
    audit = FakeAudit(daemon_pid=AUDITD)
    audit.table = [*running]

    second = own(root, audit)
    second.close()

    assert audit.table == list(running)
