"""Listening to this kernel's audit records, and the rule of our own; nothing is left behind.

Auditing stays as it is found. Where it is off, records still come of processes that a system call
filter ends: those are listened to.
"""

import os
import platform
import select
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agent.hostroot import HostRoot
from agent.sense.sensors.auditcontrol import AuditControl, AuditRefused
from agent.sense.sensors.auditexecs import AuditExecs, AuditSettings, open_audit
from agent.sense.sensors.auditrule import Owner, own_rules
from agent.sense.sensors.auditstate import NO_DAEMON, NO_RULE, OFF
from runtime.clock import SystemClock
from tests.agent.sense.sensors.auditwire import this_process

pytestmark = pytest.mark.root

KILLED = """
from agent import seccomp
import ctypes, os, signal
signal.signal(signal.SIGSYS, signal.SIG_DFL)
seccomp._ERROR = seccomp._KILL  # a filter that ends instead of refusing
seccomp.install(("write",))
os.open("/", os.O_RDONLY)
"""


def execs(settings: AuditSettings | None = None) -> AuditExecs:
    try:
        return AuditExecs(HostRoot(), SystemClock(), settings or AuditSettings(), 4096)
    except AuditRefused as error:
        pytest.skip(f"this kernel's audit records are not ours to hear: {error}")


@pytest.fixture
def control() -> Iterator[AuditControl]:
    try:
        line = AuditControl(SystemClock())
        line.status()
    except AuditRefused as error:
        pytest.skip(f"this kernel's audit system is not ours to ask: {error}")
    yield line
    line.close()


def a_record_of_the_kernel() -> None:
    """Have the kernel make one: a process that its system call filter ends."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, check=False, timeout=30
    )
    if done.returncode != -31:
        pytest.skip(f"no process can be ended by a filter here: {done.stderr}")


def is_readable(source: AuditExecs, wait_ms: int) -> bool:
    poll = select.poll()
    poll.register(source.fileno(), select.POLLIN)
    return bool(poll.poll(wait_ms))


def test_records_of_this_kernel_are_heard_and_those_of_no_exec_let_go() -> None:
    source = execs()

    a_record_of_the_kernel()
    was_readable = is_readable(source, 5000)
    told = [record for _ in range(3) for record in source.receive(64)]

    source.close()
    assert was_readable
    assert all(record.pid for record in told)
    assert source.fileno() == -1


def test_records_that_found_no_room_are_a_loss() -> None:
    source = execs(AuditSettings(receive_buffer_bytes=2304))

    for _ in range(12):
        a_record_of_the_kernel()
    is_readable(source, 5000)
    source.receive(64)

    source.close()
    assert source.losses >= 1


def test_what_is_missing_is_what_this_host_says(control: AuditControl) -> None:
    status, rules = control.status(), control.rules()
    source = execs()

    limits = source.limits

    source.close()
    if not status.enabled:
        assert limits == (OFF,)
    elif not rules:
        assert limits == (NO_RULE,)


def test_without_auditd_no_rule_is_added_and_the_reason_said(control: AuditControl) -> None:
    status = control.status()
    if status.daemon_pid or status.is_locked:
        pytest.skip("auditd runs here, or the rules are locked")
    source = execs(AuditSettings(add_rule=True))

    limits = source.limits
    ours = own_rules(platform.machine(), this_process())
    added = [rule for rule in control.rules() if rule in ours]

    source.close()
    assert limits[0] is NO_DAEMON
    assert added == []
    assert not source.owns_rule


def test_a_rule_that_was_left_behind_is_removed_at_the_start(control: AuditControl) -> None:
    status = control.status()
    if status.is_locked or (status.enabled and not status.daemon_pid):
        pytest.skip("a rule would be refused, or would write to the kernel's log")
    ours = own_rules(platform.machine(), Owner(2**31, os.getpid()))
    for rule in ours:
        control.add(rule)

    source = execs()

    after = control.rules()
    source.close()
    assert [rule for rule in after if rule in ours] == []
    assert control.status().enabled == status.enabled


def test_where_no_exec_would_be_told_of_nothing_is_opened(control: AuditControl) -> None:
    if control.status().enabled:
        pytest.skip("auditing is on here")

    with pytest.raises(AuditRefused) as refused:
        open_audit(HostRoot(), SystemClock(), AuditSettings(), 4096)

    assert refused.value.message == OFF.reason
    assert refused.value.hint == OFF.grant


def test_closing_twice_is_harmless_and_nothing_is_told_after() -> None:
    source = execs()

    source.close()
    source.close()

    assert source.receive(8) == []


IN_NAMESPACES = """
import os, sys
if sys.argv[1:] == ["nobody"]:
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
from agent.hostroot import HostRoot
from agent.sense.sensors.auditcontrol import AuditRefused
from agent.sense.sensors.auditexecs import AuditExecs, AuditSettings
from runtime.clock import SystemClock
try:
    AuditExecs(HostRoot(), SystemClock(), AuditSettings(), 4096)
except AuditRefused as error:
    print(error)
"""


def refusal(*before: str, words: tuple[str, ...] = ()) -> str:
    execs().close()
    done = subprocess.run(
        [*before, sys.executable, "-c", IN_NAMESPACES, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if "unshare" in done.stderr:
        pytest.skip(f"needs the right to make namespaces: {done.stderr.strip()}")
    return done.stdout.strip()


def test_in_a_private_network_nothing_is_heard_and_that_is_said() -> None:
    assert refusal("unshare", "--net").startswith("audit: a private network namespace hears no")


def test_without_the_capability_the_reason_and_the_remedy_are_said() -> None:
    said = refusal(words=("nobody",))

    assert said.startswith("audit: Operation not permitted (give sense CAP_AUDIT_READ")
