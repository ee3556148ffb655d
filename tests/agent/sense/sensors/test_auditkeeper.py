"""The keeper as a process, with this kernel's audit rules; nothing is left behind."""

import os
import platform
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agent.privileges import CAPABILITIES
from agent.sense.sensors.auditcontrol import AuditControl, AuditRefused
from agent.sense.sensors.auditkeeper import Keeper, main
from agent.sense.sensors.auditrule import Rule, own_rules
from runtime.clock import SystemClock
from tests.agent.daemons import status_of
from tests.agent.sense.sensors.auditwire import this_process

pytestmark = pytest.mark.root

US = this_process()
OURS = list(own_rules(platform.machine(), US))


@pytest.fixture
def control() -> Iterator[AuditControl]:
    try:
        line = AuditControl(SystemClock())
        status = line.status()
    except AuditRefused as error:
        pytest.skip(f"this kernel's audit system is not ours to ask: {error}")
    if status.is_locked or (status.enabled and not status.daemon_pid):
        pytest.skip("a rule would be refused, or would write to the kernel's log")
    for rule in OURS:
        line.add(rule)
    yield line
    for rule in OURS:
        line.remove(rule)
    line.close()


@pytest.fixture
def auditd() -> Iterator[subprocess.Popen[bytes]]:
    """Something that runs, as auditd does."""
    with subprocess.Popen(["sleep", "600"]) as child:
        yield child
        child.kill()


def ours_in(control: AuditControl) -> list[Rule]:
    return [rule for rule in control.rules() if rule in OURS]


def caged(keeper: Keeper) -> dict[str, str]:
    """Wait until the keeper has given up what it does not need, and return its status."""
    pid = keeper._process.pid  # noqa: SLF001
    for _ in range(2000):
        if status_of(pid).get("Seccomp") == "2":
            break
        select.poll().poll(10)
    return status_of(pid)


def test_the_rule_stays_until_sense_ends_or_says_so(
    control: AuditControl, auditd: subprocess.Popen[bytes]
) -> None:
    keeper = Keeper(US, auditd.pid)
    status = caged(keeper)
    during = (ours_in(control), keeper.code())

    keeper.release()
    keeper.release()

    assert keeper.wait() == 0
    assert during == (OURS, None)
    assert ours_in(control) == []
    assert int(status["CapPrm"], 16) == 1 << CAPABILITIES["audit_control"]
    assert status["Seccomp"] == "2"


def test_the_rule_goes_with_auditd(control: AuditControl, auditd: subprocess.Popen[bytes]) -> None:
    keeper = Keeper(US, auditd.pid)
    caged(keeper)

    auditd.kill()
    auditd.wait()

    assert keeper.wait() == 0
    keeper.release()
    assert ours_in(control) == []


def test_the_rule_goes_when_auditd_has_gone_before(control: AuditControl) -> None:
    keeper = Keeper(US, 2**22 + 7)
    for _ in range(2000):
        if keeper.code() is not None:
            break
        select.poll().poll(10)

    assert keeper.code() == 0
    keeper.release()
    assert ours_in(control) == []


def test_the_rule_goes_when_sense_is_killed(
    control: AuditControl, auditd: subprocess.Popen[bytes]
) -> None:
    program = (
        "import sys\nfrom agent.sense.sensors.auditkeeper import Keeper\n"
        "from agent.sense.sensors.auditrule import Owner\n"
        f"keeper = Keeper(Owner({US.pid}, {US.start}), {auditd.pid})\n"
        "print(keeper._process.pid, flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as sense:
        assert sense.stdout is not None
        watch = os.pidfd_open(int(sense.stdout.readline()))
        sense.kill()
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    has_ended = bool(poll.poll(30_000))

    os.close(watch)
    assert has_ended
    assert ours_in(control) == []


def test_a_signal_to_all_of_us_does_not_end_it(
    control: AuditControl, auditd: subprocess.Popen[bytes]
) -> None:
    keeper = Keeper(US, auditd.pid)
    caged(keeper)

    os.kill(keeper._process.pid, signal.SIGTERM)  # noqa: SLF001
    select.poll().poll(50)
    was_there = keeper.code() is None
    keeper.release()

    assert keeper.wait() == 0
    assert was_there
    assert ours_in(control) == []


def test_what_is_no_number_is_a_mistake_of_ours() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"from {main.__module__} import main; main(['x', 'y', 'z'])"],
        capture_output=True,
        check=False,
        timeout=30,
    )

    assert b"ValueError" in done.stderr
