from agent.sense.sensors.auditrule import AuditStatus, Owner, Rule, own_rules
from agent.sense.sensors.auditstate import (
    LOCKED,
    NO_DAEMON,
    NO_NUMBERS,
    NO_RULE,
    OFF,
    SILENCED,
    Telling,
    told_by,
    what_is_missing,
    why_no_rule,
)

OURS = own_rules("x86_64", Owner(4242, 7))
NEVER_A_TASK = Rule(flags=1, action=0, calls=frozenset(), fields=(), strings=b"")


def a_status(*, enabled: int = 1, daemon_pid: int = 812) -> AuditStatus:
    return AuditStatus(enabled=enabled, daemon_pid=daemon_pid, lost=0)


def test_a_rule_is_added_only_where_auditd_runs_and_rules_are_not_locked() -> None:
    assert why_no_rule(a_status(), OURS, daemon_runs=True) is None
    assert why_no_rule(a_status(enabled=0), OURS, daemon_runs=True) is None
    assert why_no_rule(a_status(), OURS, daemon_runs=False) is NO_DAEMON
    assert why_no_rule(a_status(enabled=2), OURS, daemon_runs=True) is LOCKED
    assert why_no_rule(a_status(), (), daemon_runs=True) is NO_NUMBERS


def test_a_host_that_records_execs_lacks_nothing() -> None:
    assert what_is_missing(a_status(), OURS) == ()
    assert what_is_missing(a_status(enabled=2), OURS) == ()


def test_of_which_execs_records_come_is_what_the_rules_say() -> None:
    some = Rule(flags=4, action=2, calls=frozenset({59}), fields=(), strings=b"")

    assert told_by(a_status(), OURS, "x86_64") is Telling.EVERY
    assert told_by(a_status(), (some,), "x86_64") is Telling.SOME
    assert told_by(a_status(), (), "x86_64") is Telling.NONE
    assert told_by(a_status(enabled=0), OURS, "x86_64") is Telling.NONE


def test_a_host_that_does_not_says_why_and_what_to_do() -> None:
    assert what_is_missing(a_status(enabled=0), OURS) == (OFF,)
    assert what_is_missing(a_status(), ()) == (NO_RULE,)
    assert what_is_missing(a_status(), (NEVER_A_TASK, *OURS)) == (SILENCED,)
    assert all(limit.grant for limit in (OFF, NO_RULE, SILENCED, NO_DAEMON, LOCKED, NO_NUMBERS))
