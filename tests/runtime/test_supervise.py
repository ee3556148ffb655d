import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.clock import SystemClock
from runtime.errors import VedetteError
from runtime.supervise import (
    NOTIFY_FD,
    Child,
    Notifier,
    Policy,
    Supervisor,
    TaskReturned,
    cause,
    spawn,
)

DEADLINE_S = 10
ROOT = Path(__file__).parents[2]

# Runs a Supervisor in a process of its own: argv[1] is the specification below as JSON. Where
# coverage is measured it measures this process too, but none of the programs.
DRIVER = """
import os, random, sys
import msgspec

measured = os.environ.pop("COVERAGE_RUN", "")
if measured:
    import coverage
    coverage.Coverage(data_suffix=True, auto_data=True).start()

from runtime.clock import SystemClock
from runtime.supervise import Child, Policy, Supervisor

spec = msgspec.json.decode(sys.argv[1])
children = msgspec.convert(spec["children"], list[Child])
policy = msgspec.convert(spec["policy"], Policy)
run = Supervisor(
    children, clock=SystemClock(), random=random.Random(1).random, env=os.environ, policy=policy
).run
sys.exit(run(spec["stop_order"]))
"""

# Every program under test notes what happens to it on standard output, which is the journal.
PRELUDE = """
import os, signal, sys, time
def note(word):
    os.write(1, f"{sys.argv[1]} {word} {os.getpid()}\\n".encode())
def stop(*_):
    note("stop")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
note("start")
"""
SLEEP = "time.sleep(60)"
DEAF = f"signal.signal(signal.SIGTERM, lambda *_: note('asked')); note('deaf'); {SLEEP}"


class Running:
    """A supervisor process and the journal of its programs."""

    def __init__(self, process: "subprocess.Popen[bytes]", journal: Path) -> None:
        self.process = process
        self.journal = journal

    def notes(self, word: str, name: str = "") -> list[int]:
        lines = [line.split() for line in self.journal.read_text().splitlines()]
        return [int(pid) for who, what, pid in lines if what == word and name in {"", who}]

    def words(self) -> list[str]:
        return [line.split()[1] for line in self.journal.read_text().splitlines()]

    def finish(self, number: signal.Signals | None = signal.SIGTERM) -> int:
        if number:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


Start = Callable[..., Running]


def in_python(name: str, source: str) -> tuple[str, ...]:
    return (sys.executable, "-c", PRELUDE + source, name)


def in_shell(name: str, source: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", source, name)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a supervisor over programs given as name=source; end it with the test."""
    journal = tmp_path / "journal"
    running: list[Running] = []

    def started(
        *,
        stop_order: Sequence[str] = (),
        env: dict[str, str] | None = None,
        options: dict[str, Any] | None = None,
        argv: Callable[[str, str], tuple[str, ...]] = in_python,
        **programs: str,
    ) -> Running:
        spec = {
            "children": [
                Child(name=name, argv=argv(name, source), **(options or {}))
                for name, source in programs.items()
            ],
            "policy": Policy(wait_s_first=0.02, wait_s_max=0.05),
            "stop_order": stop_order,
        }
        with journal.open("ab") as stdout:
            process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, msgspec.json.encode(spec).decode()],
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdout=stdout,
            )
        running.append(Running(process, journal))
        return running[-1]

    yield started
    for one in running:
        one.process.kill()
        one.process.wait(DEADLINE_S)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def test_a_program_that_crashes_is_started_again(start: Start) -> None:
    running = start(flaky="sys.exit(1)", steady=SLEEP)

    until(lambda: len(running.notes("start", "flaky")) >= 3)

    assert running.finish() == 0
    assert len(running.notes("start", "steady")) == 1


def test_a_killed_program_is_replaced(start: Start) -> None:
    running = start(one=SLEEP)
    until(lambda: len(running.notes("start")) == 1)

    os.kill(running.notes("start")[0], signal.SIGKILL)

    until(lambda: len(running.notes("start")) == 2)
    assert running.finish() == 0


def test_a_program_that_is_being_replaced_is_waited_for(start: Start, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.touch(0o755)
    with program.open("w") as writer:
        writer.write('#!/bin/sh\necho "one start $$"\nexec sleep 60\n')
        writer.flush()
        running = start(one="", argv=lambda *_: (str(program),))
        time.sleep(0.5)
        before = running.notes("start")

    until(lambda: bool(running.notes("start")))

    assert before == []
    assert running.finish() == 0


@pytest.mark.parametrize("code", [2, 4, 7])
def test_a_program_that_gives_up_stops_all_and_lends_its_exit_code(start: Start, code: int) -> None:
    running = start(steady=SLEEP, broken=f"time.sleep(0.2); sys.exit({code})")

    assert running.finish(None) == code
    assert len(running.notes("start", "broken")) == 1
    assert running.notes("stop", "steady") == running.notes("start", "steady")


def test_programs_stop_in_the_order_asked_and_then_last_started_first(start: Start) -> None:
    running = start(a=SLEEP, b=SLEEP, c=SLEEP, stop_order=["b"])
    until(lambda: len(running.notes("start")) == 3)

    assert running.finish(signal.SIGINT) == 0

    order = [running.notes("start", name)[0] for name in "bca"]
    assert running.notes("stop") == order


def test_a_program_that_does_not_stop_is_killed_and_the_exit_says_so(start: Start) -> None:
    running = start(stubborn=DEAF, options={"stop_wait_s": 0.1})
    until(lambda: bool(running.notes("deaf")))

    assert running.finish() == 1
    assert is_gone(running.notes("deaf")[0])


def test_a_second_call_to_stop_does_not_wait(start: Start) -> None:
    running = start(slow=DEAF)
    until(lambda: bool(running.notes("deaf")))
    running.process.send_signal(signal.SIGTERM)
    until(lambda: bool(running.notes("asked")))
    time.sleep(1.1)

    began = time.monotonic()

    assert running.finish() == 1
    assert time.monotonic() - began < 2


def test_signals_that_come_together_are_one_call_to_stop(start: Start) -> None:
    slow = "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.4), sys.exit())); note('up')"
    running = start(slow=f"{slow}; {SLEEP}")
    until(lambda: bool(running.notes("up")))

    running.process.send_signal(signal.SIGINT)
    time.sleep(0.1)

    assert running.finish() == 0


NOTE = 'echo "$0 start $$"'
AS_NOBODY = pytest.param(
    {"user": 65534, "group": 65534},
    marks=[
        pytest.mark.root,
        pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another user"),
    ],
    id="other user",
)


@pytest.mark.parametrize("options", [pytest.param({}, id="same user"), AS_NOBODY])
def test_no_program_outlives_a_killed_supervisor(start: Start, options: dict[str, Any]) -> None:
    source = f"{NOTE}; exec sleep 60"
    running = start(one=source, two=source, argv=in_shell, options=options)
    until(lambda: len(running.notes("start")) == 2)

    running.process.kill()

    until(lambda: all(map(is_gone, running.notes("start"))))


def test_what_a_program_leaves_behind_ends_with_it(start: Start) -> None:
    forking = f"os.fork() or (note('left'), {SLEEP}); {SLEEP}"
    running = start(parent=forking)
    until(lambda: bool(running.notes("left")))

    os.kill(running.notes("start")[0], signal.SIGKILL)

    until(lambda: is_gone(running.notes("left")[0]))


def test_a_silent_program_is_killed_and_replaced(start: Start) -> None:
    running = start(silent=SLEEP, options={"watchdog_s": 0.3})

    until(lambda: len(running.notes("start")) == 2)
    assert running.finish() == 0


def test_a_program_that_beats_is_left_alone(start: Start) -> None:
    beating = """
from runtime.supervise import Notifier
notifier = Notifier.from_env(os.environ)
for _ in range(7):
    notifier.beat()
    time.sleep(notifier.watchdog_s / 5)
note("alive")
time.sleep(60)
"""
    running = start(beating=beating, options={"watchdog_s": 1})

    until(lambda: bool(running.notes("alive")))

    assert running.finish() == 0
    assert len(running.notes("start")) == 1


def test_the_parent_hears_of_readiness_state_life_and_stop(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "notify"
    ready = "from runtime.supervise import Notifier; Notifier.from_env(os.environ).ready()"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as parent:
        parent.bind(str(path))
        parent.settimeout(DEADLINE_S)
        running = start(
            one=f"{ready}; {SLEEP}",
            two=f"time.sleep(0.2); {ready}; {SLEEP}",
            options={"notifies": True},
            env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "100000"},
        )

        heard = [parent.recv(4096).decode()]
        while heard[-1] != "READY=1" or heard.count("WATCHDOG=1") < 2:
            heard.append(parent.recv(4096).decode())
        beats = [parent.recv(4096).decode() for _ in range(2)]
        code = running.finish()
        parent.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                beats.append(parent.recv(4096).decode())

    assert code == 0
    assert heard.index("STATUS=one ready, two ready") < heard.index("READY=1")
    assert heard.count("READY=1") == 1
    assert beats[:2] == ["WATCHDOG=1"] * 2
    assert "STOPPING=1" in beats


def test_a_program_that_does_not_exist_stops_the_rest(tmp_path: Path) -> None:
    spec = {
        "children": [
            Child(name="there", argv=("/bin/sleep", "60")),
            Child(name="missing", argv=(str(tmp_path / "none"),)),
        ],
        "policy": Policy(),
        "stop_order": [],
    }

    done = subprocess.run(
        [sys.executable, "-c", DRIVER, msgspec.json.encode(spec).decode()],
        cwd=ROOT,
        timeout=DEADLINE_S,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 1
    assert b"CannotStart: cannot start" in done.stderr


def test_a_program_has_the_environment_but_no_terminal_and_its_own_group(start: Start) -> None:
    source = """
assert os.environ["MARK"] == "here"
assert "NOTIFY_SOCKET" not in os.environ
assert os.read(0, 1) == b""
assert os.getpgid(0) == os.getpid()
note("checked")
time.sleep(60)
"""
    running = start(one=source, env={"MARK": "here", "NOTIFY_SOCKET": "/nowhere"})

    until(lambda: bool(running.notes("checked")))

    assert len(running.notes("start")) == 1


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another user")
def test_a_program_runs_as_the_user_asked_and_keeps_no_group_of_ours(start: Start) -> None:
    source = """
for word in user=$(id -u) group=$(id -g) groups=$(id -G | tr ' ' ,); do echo "$0 $word $$"; done
exec sleep 60
"""
    options = {"user": 65534, "group": 65533, "extra_groups": (65532,)}
    running = start(one=source, argv=in_shell, options=options)

    until(lambda: len(running.words()) >= 3)

    assert running.words() == ["user=65534", "group=65533", "groups=65533,65532"]


def test_a_process_with_threads_may_not_supervise() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    supervisor = Supervisor([], clock=SystemClock(), random=random.Random(1).random, env={})

    try:
        with pytest.raises(RuntimeError, match="one thread"):
            supervisor.run()
    finally:
        release.set()
        thread.join()


def a_notifier() -> tuple[Notifier, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    env = {NOTIFY_FD: str(theirs.detach()), "WATCHDOG_USEC": "2500000", "KEPT": "1"}
    notifier = Notifier.from_env(env)
    assert env == {"KEPT": "1"}
    return notifier, ours


def test_a_notifier_speaks_the_protocol_of_systemd() -> None:
    notifier, parent = a_notifier()

    with parent:
        notifier.ready()
        notifier.status("one\nREADY=0")
        notifier.status("")
        notifier.beat()
        notifier.stopping()

        heard = [parent.recv(100) for _ in range(5)]

    assert heard == [b"READY=1", b"STATUS=one", b"STATUS=", b"WATCHDOG=1", b"STOPPING=1"]
    assert notifier.watchdog_s == 2.5
    notifier.close()


def test_a_notifier_hands_descriptors_over() -> None:
    notifier, parent = a_notifier()
    inlet, outlet = os.pipe()

    with parent:
        notifier.send("FDSTORE=1\nFDNAME=x", [outlet])
        message, fds, _, _ = socket.recv_fds(parent, 100, 1)

    os.write(fds[0], b"through")
    assert (message, os.read(inlet, 10)) == (b"FDSTORE=1\nFDNAME=x", b"through")
    for fd in (inlet, outlet, *fds):
        os.close(fd)
    notifier.close()


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as parent:
        parent.bind(f"\0vedette-test-{os.getpid()}")
        notifier = Notifier.from_env({"NOTIFY_SOCKET": f"@vedette-test-{os.getpid()}"})

        notifier.ready()

        assert parent.recv(100) == b"READY=1"
        notifier.close()


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"NOTIFY_SOCKET": "/nowhere/at/all"},
        {NOTIFY_FD: "99999"},
        {NOTIFY_FD: "x", "WATCHDOG_USEC": "y"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_notifier_nobody_listens_to_is_silent(env: dict[str, str]) -> None:
    notifier = Notifier.from_env(env)

    notifier.ready()

    assert notifier.watchdog_s == 0


def test_a_notifier_whose_parent_is_gone_does_not_fail() -> None:
    notifier, parent = a_notifier()
    parent.close()

    notifier.beat()

    notifier.close()


async def a_group_with(work: Coroutine[Any, Any, object]) -> BaseException:
    """Run the work beside a task that never ends, and return what ended them."""
    try:
        async with asyncio.TaskGroup() as group:
            spawn(group, work, "short")
            spawn(group, asyncio.Event().wait(), "long")
    except ExceptionGroup as error:
        return cause(error)
    pytest.fail("the group ended without an error")


async def test_a_task_that_returns_stops_the_group_and_is_named() -> None:
    error = await a_group_with(asyncio.sleep(0))

    assert isinstance(error, TaskReturned)
    assert "task short returned" in str(error)


async def test_a_task_that_raises_stops_the_group_with_its_cause() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise VedetteError("disk gone")

    error = await a_group_with(work())

    assert str(error) == "disk gone"
    assert error.__notes__ == ["in task short"]


async def test_a_cancelled_task_ends_without_harm_to_the_others() -> None:
    async with asyncio.TaskGroup() as group:
        first = spawn(group, asyncio.Event().wait(), "first")
        second = spawn(group, asyncio.Event().wait(), "second")
        await asyncio.sleep(0)

        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

        second.cancel()
