"""The line to the kernel's audit system, tried on this kernel; whatever is added is removed."""

import errno
import platform
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agent.sense.sensors.auditcontrol import AuditControl, AuditRefused
from agent.sense.sensors.auditrule import own_rules
from runtime.clock import SystemClock
from tests.agent.sense.sensors.auditwire import this_process

OURS = own_rules(platform.machine(), this_process())

pytestmark = pytest.mark.root


@pytest.fixture
def control() -> Iterator[AuditControl]:
    try:
        line = AuditControl(SystemClock())
        line.status()
    except AuditRefused as error:
        pytest.skip(f"this kernel's audit system is not ours to ask: {error}")
    yield line
    line.close()


@pytest.fixture
def unlocked(control: AuditControl) -> Iterator[AuditControl]:
    """Rules may be tried where nothing comes of them: auditing off, or auditd there to read."""
    status = control.status()
    if status.is_locked or (status.enabled and not status.daemon_pid):
        pytest.skip("a rule would be refused, or would write to the kernel's log")
    yield control
    for rule in OURS:
        control.remove(rule)


def test_our_rules_come_back_from_the_kernel_as_they_were_packed(unlocked: AuditControl) -> None:
    status = unlocked.status()

    for rule in OURS:
        unlocked.add(rule)
    added = unlocked.rules()
    for rule in OURS:
        unlocked.remove(rule)

    assert [rule for rule in added if rule in OURS] == list(OURS)
    assert not [rule for rule in unlocked.rules() if rule in OURS]
    assert unlocked.status().enabled == status.enabled


def test_a_rule_that_is_there_is_not_added_twice(unlocked: AuditControl) -> None:
    rule = OURS[0]
    unlocked.add(rule)

    with pytest.raises(AuditRefused) as refused:
        unlocked.add(rule)

    assert refused.value.errno == errno.EEXIST


def test_removing_a_rule_that_is_not_there_is_no_error(unlocked: AuditControl) -> None:
    unlocked.remove(OURS[0])


def test_a_rule_that_the_kernel_does_not_understand_is_refused(unlocked: AuditControl) -> None:
    rule = OURS[0]
    wrong = type(rule)(rule.flags, 99, rule.calls, rule.fields, rule.strings)

    with pytest.raises(AuditRefused) as refused:
        unlocked.add(wrong)

    assert refused.value.errno == errno.EINVAL


def test_closing_twice_is_harmless(control: AuditControl) -> None:
    control.close()
    control.close()

    with pytest.raises(AuditRefused):
        control.status()


UNPRIVILEGED = """
import os
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
from agent.sense.sensors.auditcontrol import AuditControl, AuditRefused
from runtime.clock import SystemClock
try:
    AuditControl(SystemClock()).status()
except AuditRefused as error:
    print(error.message)
"""


def test_without_the_capability_we_are_told_so(control: AuditControl) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=True, timeout=30
    )

    assert done.stdout == "audit: Operation not permitted\n"
