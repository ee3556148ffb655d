import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from pathlib import Path

import pytest
from msgspec import UNSET, Struct

from agent.hostroot import HostRoot
from agent.sense.ports import Ease, Sighting
from agent.sense.sensors import hashqueue, identity, imagehash, procintake
from agent.sense.sensors.execrecord import ExecRecord
from agent.sense.sensors.processes import ProcessSensor, ProcessSettings, snapshot
from proto.model import (
    DropReason,
    HealthState,
    Observation,
    ObservationKind,
    Precision,
    Process,
)
from runtime.clock import NS_PER_S, SystemClock
from tests.agent.sense.sensors.driving import drain, drops_of, no_more_descriptors
from tests.agent.sense.sensors.hosts import a_golden_host
from tests.fakes.argv import FakeArgv
from tests.fakes.clock import FakeClock

CLOCK = SystemClock()


class Seen(Struct, frozen=True):
    """An observation of a process, unwrapped."""

    kind: ObservationKind
    process: Process
    fact: Observation


def seen(told: list[Sighting], pid: int | None = None) -> list[Seen]:
    """What was told of processes, or of one of them."""
    return [
        Seen(fact.kind, fact.subject.value, fact)
        for fact in told
        if isinstance(fact, Observation)
        and isinstance(fact.subject.value, Process)
        and pid in {None, fact.subject.value.pid}
    ]


def a_sensor(host: HostRoot | None = None, **settings: object) -> ProcessSensor:
    sensor = ProcessSensor(
        ProcessSettings(**{"audit_records": False, **settings}),  # type: ignore[arg-type]
        host or HostRoot(),
        CLOCK,
    )
    sensor.start(b"")
    return sensor


def on_rung(rung: str, **settings: object) -> ProcessSensor:
    """A sensor on this rung, past its first pass."""
    # The rest of the machine may be as busy as it likes.
    quiet = {"coalesce_above_per_s": 1_000_000} | settings
    made = a_sensor(None, fanotify=rung == "fanotify", **quiet)
    if made.health().rung != rung:
        made.stop()
        pytest.skip(f"no rung {rung} here: {made.health().reason}")
    drain(made, CLOCK)
    return made


@pytest.fixture(params=["procconn", "fanotify"])
def sensor(request: pytest.FixtureRequest) -> Iterator[ProcessSensor]:
    """A sensor with events, past its first pass."""
    made = on_rung(request.param)
    yield made
    made.stop()


@pytest.fixture
def by_fanotify() -> Iterator[ProcessSensor]:
    """A sensor that is told of the files too, past its first pass."""
    made = on_rung("fanotify")
    yield made
    made.stop()


def told_until(sensor: ProcessSensor, enough: Callable[[list[Sighting]], object]) -> list[Sighting]:
    """Poll as the loop does until enough was told."""
    told: list[Sighting] = []
    ends = time.monotonic() + 20
    while not enough(told):
        assert time.monotonic() < ends, f"never told: {sensor.health()} {told[-3:]}"
        wait(sensor.descriptors(), 0.05)
        told += drain(sensor, CLOCK)
    return told


def execs_of(told: list[Sighting], parent: int) -> list[Process]:
    return [
        found.process
        for found in seen(told)
        if found.kind is ObservationKind.PROCESS_EXEC and found.process.ppid == parent
    ]


def ours(told: list[Sighting]) -> bool:
    return bool(execs_of(told, os.getpid()))


def until(sensor: ProcessSensor, kind: ObservationKind, pid: int) -> Seen:
    """Poll when there are events, as the loop does, until a process is told of."""
    for _ in range(200):
        wait(sensor.descriptors(), 0.05)
        for found in seen(drain(sensor, CLOCK), pid):
            if found.kind is kind:
                return found
    raise AssertionError(f"{kind} of {pid} never came")


def a_program(folder: Path, name: str = "sleeper", padding: int = 0) -> Path:
    """A binary nobody has hashed yet."""
    path = folder / name
    path.write_bytes(Path("/bin/sleep").read_bytes() + os.urandom(8) + bytes(padding))
    path.chmod(0o755)
    return path


def stopped(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()


# ------------------------------------------------------------------------------- the real host


def test_the_first_pass_tells_of_every_process_once() -> None:
    sensor = a_sensor()

    told = drain(sensor, CLOCK)
    sensor.stop()

    base = [found for found in seen(told) if found.kind is ObservationKind.PROCESS_SEEN]
    pids = [found.process.pid for found in base]
    assert len(pids) == len(set(pids))
    assert {1, os.getpid(), os.getppid()} <= set(pids)
    assert all(found.fact.event_precision is Precision.POLL for found in base)


def test_an_exec_is_told_with_all_that_names_it(sensor: ProcessSensor, tmp_path: Path) -> None:
    program = a_program(tmp_path)
    before = CLOCK.wall_ns()
    child = subprocess.Popen([program, "30"], cwd=tmp_path)

    found = until(sensor, ObservationKind.PROCESS_EXEC, child.pid)

    stopped(child)
    process = found.process
    assert (process.exe, process.cwd) == (str(program), str(tmp_path))
    assert process.argv == (str(program), "30")
    assert process.sha256 == hashlib.sha256(program.read_bytes()).digest()
    assert (process.ppid, process.session) == (os.getpid(), os.getsid(0))
    assert process.user is not UNSET
    assert found.fact.ancestry[0].pid == os.getpid()
    assert found.fact.event_precision is Precision.EXACT
    assert before <= found.fact.event_time <= found.fact.observed_at
    assert found.fact.source.rung == sensor.health().rung


def test_start_times_agree_between_events_and_proc(sensor: ProcessSensor, tmp_path: Path) -> None:
    child = subprocess.Popen([a_program(tmp_path), "30"])

    found = until(sensor, ObservationKind.PROCESS_EXEC, child.pid)

    again = {process.pid: process for process in snapshot(HostRoot(), CLOCK)}[child.pid]
    stopped(child)
    assert found.process.start == again.start
    assert found.process.boot_id == again.boot_id != bytes(16)


def test_every_one_of_many_short_lived_processes_is_told(sensor: ProcessSensor) -> None:
    loop = "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done"
    shell = subprocess.Popen(["/bin/sh", "-c", loop])

    told = told_until(sensor, lambda told: len(execs_of(told, shell.pid)) >= 200)

    shell.wait()
    children = [
        found
        for found in seen(told)
        if found.kind is ObservationKind.PROCESS_EXEC and found.process.ppid == shell.pid
    ]
    assert not drops_of(told)
    assert len(children) == 200
    assert all(found.fact.ancestry[0].pid == shell.pid for found in children)


@pytest.mark.parametrize("rung", ["procconn", "fanotify"])
def test_lost_events_are_declared_and_made_good_at_once(rung: str, tmp_path: Path) -> None:
    sensor = on_rung(rung, receive_buffer_bytes=2304)

    for _ in range(60):
        subprocess.run(["/bin/true"], check=True)
    child = subprocess.Popen([a_program(tmp_path), "30"])
    time.sleep(0.05)
    told = told_until(sensor, lambda told: seen(told, child.pid))

    stopped(child)
    sensor.stop()
    gaps = [drop for drop in drops_of(told) if drop.reason is DropReason.SOURCE_GAP]
    assert gaps
    assert gaps[0].count is None
    assert gaps[0].first is not None
    assert gaps[0].last is not None
    assert gaps[0].first <= gaps[0].last
    assert seen(told, child.pid)[0].process.sha256 is not UNSET
    assert sensor.health().dropped >= 1


def test_the_end_of_a_process_is_told_where_asked_for(tmp_path: Path) -> None:
    sensor = a_sensor(exits=True)
    if not sensor.descriptors():
        pytest.skip(f"no process events here: {sensor.health().reason}")
    drain(sensor, CLOCK)
    child = subprocess.Popen([a_program(tmp_path), "30"])
    until(sensor, ObservationKind.PROCESS_EXEC, child.pid)

    stopped(child)
    found = until(sensor, ObservationKind.PROCESS_EXIT, child.pid)

    sensor.stop()
    assert found.process.exe == str(tmp_path / "sleeper")


def test_a_large_image_is_hashed_over_many_polls(tmp_path: Path) -> None:
    sensor = a_sensor()
    if not sensor.descriptors():
        pytest.skip(f"no process events here: {sensor.health().reason}")
    drain(sensor, CLOCK)
    program = a_program(tmp_path, padding=8 * imagehash.SLICE_BYTES)
    child = subprocess.Popen([program, "30"])
    wait(sensor.descriptors(), 5)

    polls = 0
    found: list[Seen] = []
    while not found:
        found = seen(list(sensor.poll(CLOCK.boot_ns())), child.pid)
        polls += 1
        assert polls < 1000

    stopped(child)
    sensor.stop()
    assert polls > 8
    assert found[0].process.sha256 == hashlib.sha256(program.read_bytes()).digest()


def test_an_image_above_the_limit_is_told_unhashed(tmp_path: Path) -> None:
    sensor = a_sensor(hash_size_bytes_max=1000)
    if not sensor.descriptors():
        pytest.skip(f"no process events here: {sensor.health().reason}")
    drain(sensor, CLOCK)
    child = subprocess.Popen([a_program(tmp_path), "30"])

    found = until(sensor, ObservationKind.PROCESS_EXEC, child.pid)

    stopped(child)
    sensor.stop()
    assert found.process.sha256 is UNSET
    assert found.process.caveats == (imagehash.TOO_LARGE,)


def test_more_new_images_than_can_be_held_are_declared(tmp_path: Path) -> None:
    sensor = on_rung("procconn", images_held_max=1)

    children = [
        subprocess.Popen([a_program(tmp_path, f"sleeper{number}"), "30"]) for number in range(3)
    ]
    time.sleep(0.05)
    told = told_until(sensor, lambda told: all(seen(told, child.pid) for child in children))

    for child in children:
        stopped(child)
    sensor.stop()
    caveats = [seen(told, child.pid)[0].process.caveats for child in children]
    drops = [drop for drop in drops_of(told) if drop.reason is DropReason.OVERFLOW]
    assert (hashqueue.QUEUE_FULL,) in caveats
    assert sum(drop.count or 0 for drop in drops) >= caveats.count((hashqueue.QUEUE_FULL,))


def test_an_idle_sensor_wants_nothing_until_the_next_whole_minute() -> None:
    sensor = on_rung("procconn")
    due = sensor.due()
    sensor.stop()

    assert due is not None
    assert due % (60 * NS_PER_S) == 0
    assert 0 < due - CLOCK.boot_ns() <= 60 * NS_PER_S


def test_health_says_what_is_not_seen(sensor: ProcessSensor) -> None:
    health = sensor.health()

    privileged = os.geteuid() == 0
    assert health.rung in {"procconn", "fanotify"}
    assert health.state is (HealthState.OK if privileged else HealthState.DEGRADED)
    assert ("other users" in health.reason) is not privileged
    assert health.last_success > 0


# ------------------------------------------------------------------------ files that are executed


@pytest.mark.root
def test_the_digest_of_every_short_lived_process_is_known(by_fanotify: ProcessSensor) -> None:
    loop = "i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done"
    shell = subprocess.Popen(["/bin/sh", "-c", loop])

    told = told_until(by_fanotify, lambda told: len(execs_of(told, shell.pid)) >= 300)

    shell.wait()
    true = hashlib.sha256(Path("/bin/true").read_bytes()).digest()
    processes = execs_of(told, shell.pid)
    assert not drops_of(told)
    assert len(processes) == 300
    assert {process.sha256 for process in processes} == {true}
    assert {process.exe for process in processes} == {os.path.realpath("/bin/true")}
    assert by_fanotify.known.execs >= 300


@pytest.mark.root
def test_each_of_many_new_programs_has_its_own_digest(tmp_path: Path) -> None:
    sensor = on_rung("fanotify", images_held_max=8)
    programs = [a_program(tmp_path, f"program{number}") for number in range(40)]
    children = [subprocess.Popen([program, "0"]) for program in programs]
    for child in children:
        child.wait()

    told = told_until(sensor, lambda told: len(execs_of(told, os.getpid())) >= 40)

    sensor.stop()
    digests = {process.exe: process.sha256 for process in execs_of(told, os.getpid())}
    assert digests == {
        str(program): hashlib.sha256(program.read_bytes()).digest() for program in programs
    }
    assert not drops_of(told)


@pytest.mark.root
def test_an_exec_that_fails_is_told_with_what_was_to_be_run(
    by_fanotify: ProcessSensor, tmp_path: Path
) -> None:
    program = tmp_path / "wrong"
    data = bytearray(Path("/bin/true").read_bytes())
    data[18:20] = b"\xff\xff"  # a machine that does not exist
    program.write_bytes(data)
    program.chmod(0o755)

    def failures(told: list[Sighting]) -> list[Seen]:
        failed = ObservationKind.PROCESS_EXEC_FAILED
        return [
            found
            for found in seen(told)
            if found.kind is failed and found.process.exe == str(program)
        ]

    with pytest.raises(OSError, match="Exec format error"):
        subprocess.Popen([program])
    [failed] = failures(told_until(by_fanotify, failures))

    assert failed.process.sha256 == hashlib.sha256(data).digest()
    assert failed.process.caveats == (procintake.FAILED,)
    assert failed.process.argv == ()


@pytest.mark.root
def test_a_script_is_told_with_its_interpreter_and_both_digests(
    by_fanotify: ProcessSensor, tmp_path: Path
) -> None:
    script = tmp_path / "job"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    child = subprocess.Popen([script])
    child.wait()

    [process] = execs_of(told_until(by_fanotify, ours), os.getpid())

    shell = Path(os.path.realpath("/bin/sh"))
    assert (process.exe, process.script) == (str(shell), str(script))
    assert process.sha256 == hashlib.sha256(shell.read_bytes()).digest()
    assert process.script_sha256 == hashlib.sha256(script.read_bytes()).digest()
    assert hashqueue.RACY in process.caveats


def test_what_an_interpreter_is_told_to_run_is_its_script(
    sensor: ProcessSensor, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text("import time\ntime.sleep(30)\n")
    child = subprocess.Popen([sys.executable, "-u", "job.py"], cwd=tmp_path)

    found = until(sensor, ObservationKind.PROCESS_EXEC, child.pid)

    stopped(child)
    assert found.process.script == str(tmp_path / "job.py")
    data = (tmp_path / "job.py").read_bytes()
    assert found.process.script_sha256 == hashlib.sha256(data).digest()
    assert hashqueue.RACY in found.process.caveats


@pytest.mark.root
def test_a_program_that_never_was_a_file_is_read_from_the_process(
    by_fanotify: ProcessSensor,
) -> None:
    script = (
        "import os\n"
        "fd = os.memfd_create('quiet')\n"
        "os.write(fd, open('/bin/sleep', 'rb').read())\n"
        "os.execve(fd, ['sleep', '30'], {})\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script])
    until(by_fanotify, ObservationKind.PROCESS_EXEC, child.pid)

    found = until(by_fanotify, ObservationKind.PROCESS_EXEC, child.pid)

    stopped(child)
    assert found.process.exe == "/memfd:quiet"
    assert identity.MEMFD in found.process.caveats
    assert found.process.sha256 == hashlib.sha256(Path("/bin/sleep").read_bytes()).digest()


@pytest.mark.root
def test_a_program_that_deletes_itself_is_hashed_and_the_change_is_said(
    by_fanotify: ProcessSensor, tmp_path: Path
) -> None:
    program = a_program(tmp_path)
    data = program.read_bytes()
    child = subprocess.Popen([program, "30"])
    time.sleep(0.05)  # file systems tell time in ticks
    program.unlink()

    found = until(by_fanotify, ObservationKind.PROCESS_EXEC, child.pid)

    stopped(child)
    assert found.process.sha256 == hashlib.sha256(data).digest()
    assert {identity.DELETED, imagehash.CHANGED} <= set(found.process.caveats)


@pytest.mark.root
def test_above_the_limit_reads_are_put_together_and_that_is_said() -> None:
    sensor = on_rung("fanotify", coalesce_above_per_s=20)
    loop = "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done"
    shell = subprocess.Popen(["/bin/sh", "-c", loop])

    told = told_until(sensor, lambda told: len(execs_of(told, shell.pid)) >= 200)
    health, waits = sensor.health(), list(sensor.descriptors())
    due = sensor.due()

    shell.wait()
    sensor.stop()
    assert health.state is HealthState.DEGRADED
    assert "coalescing" in health.reason
    assert waits == []
    assert due is not None
    assert len(execs_of(told, shell.pid)) == 200


@pytest.mark.root
def test_arguments_that_records_tell_count_and_the_rung_says_so() -> None:
    source = FakeArgv()
    settings = ProcessSettings()
    sensor = ProcessSensor(settings, HostRoot(), CLOCK, lambda: source)
    sensor.start(b"")
    if not sensor.descriptors():
        pytest.skip(f"no process events here: {sensor.health().reason}")
    drain(sensor, CLOCK)
    before = sensor.health().rung
    child = subprocess.Popen(["/bin/true", "as", "seen"])
    child.wait()
    source.tell(
        ExecRecord(
            pid=child.pid,
            ppid=os.getpid(),
            serial=1,
            wall_ns=CLOCK.wall_ns(),
            argv=("/bin/true", "as", "told"),
        )
    )

    [process] = execs_of(told_until(sensor, ours), os.getpid())
    health = sensor.health()

    sensor.stop()
    assert before != "audit"
    assert health.rung == "audit"
    assert process.argv == ("/bin/true", "as", "told")
    assert source.is_closed


@pytest.mark.root
def test_over_budget_less_is_looked_at_and_that_is_said(tmp_path: Path) -> None:
    sensor = on_rung("fanotify")
    sensor.ease(Ease.NO_ENRICHMENT)
    child = subprocess.Popen([a_program(tmp_path), "30"])

    found = until(sensor, ObservationKind.PROCESS_EXEC, child.pid)
    eased = sensor.health()
    sensor.ease(Ease.NORMAL)

    stopped(child)
    assert found.process.argv == ()
    assert found.process.exe == str(tmp_path / "sleeper")
    assert {procintake.NOT_LOOKED_UP, hashqueue.OVER_BUDGET} <= set(found.process.caveats)
    assert found.process.session == os.getsid(0)
    assert eased.state is HealthState.DEGRADED
    assert "over budget" in eased.reason
    assert "over budget" not in sensor.health().reason
    sensor.stop()


@pytest.mark.root
def test_without_descriptors_nothing_is_lost_unsaid_and_all_comes_back(tmp_path: Path) -> None:
    sensor = on_rung("fanotify")
    program = a_program(tmp_path)
    children = [subprocess.Popen([program, "0"]) for _ in range(5)]
    for child in children:
        child.wait()

    with no_more_descriptors():
        first = list(sensor.poll(CLOCK.boot_ns() + NS_PER_S))
        starved = sensor.health()
        retry = sensor.due()
    time.sleep(0.25)
    told = first + told_until(sensor, lambda told: len(execs_of([*first, *told], os.getpid())) >= 5)

    sensor.stop()
    digest = hashlib.sha256(program.read_bytes()).digest()
    assert starved.state is HealthState.DEGRADED
    assert "no descriptors left" in starved.reason
    assert retry is not None
    assert [process.sha256 for process in execs_of(told, os.getpid())] == [digest] * 5
    assert sensor.health().reason != starved.reason


IN_OWN_MOUNTS = """
import os, subprocess, sys
from pathlib import Path
from agent.hostroot import HostRoot
from agent.privileges import keep_only
from agent.sense.sensors.execrecord import ExecRecord
from agent.sense.sensors.processes import ProcessSensor, ProcessSettings
from proto.model import Observation, ObservationKind
from runtime.clock import SystemClock

FOLDER = Path(sys.argv[1])
CLOCK = SystemClock()

def mount(*words):
    subprocess.run(["mount", *words], check=True)

def program(folder):
    path = folder / "program"
    path.write_bytes(Path("/bin/true").read_bytes() + os.urandom(8))
    path.chmod(0o755)
    return path

def told_of(path):
    subprocess.run([path], check=True)
    found, ends = [], CLOCK.boot_ns() + 10_000_000_000
    while not found and CLOCK.boot_ns() < ends:
        found += [
            fact.subject.value
            for fact in sensor.poll(CLOCK.boot_ns() + 100_000_000)
            if isinstance(fact, Observation) and fact.kind is ObservationKind.PROCESS_EXEC
            and fact.subject.value.exe == str(path)
        ]
    return found

sensor = ProcessSensor(ProcessSettings(audit_records=False), HostRoot(), CLOCK)
"""


def in_own_mounts(script: str, folder: Path) -> list[str]:
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", IN_OWN_MOUNTS + script, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr or "SKIP" in done.stdout:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()[-200:]} {done.stdout}")
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


@pytest.mark.root
def test_a_file_system_mounted_later_is_watched_too(tmp_path: Path) -> None:
    script = (
        "sensor.start(b'')\n"
        "if sensor.health().rung != 'fanotify': print('SKIP')\n"
        "sensor.poll(1 << 62)\n"
        "mount('-t', 'tmpfs', 'none', str(FOLDER))\n"
        "sensor.poll(1 << 62)\n"
        "[process] = told_of(program(FOLDER))\n"
        "print(len(process.sha256), process.caveats)\n"
    )

    told = in_own_mounts(script, tmp_path)

    assert told[0].startswith("32 ")
    assert "unhashed" not in told[0]


@pytest.mark.root
def test_an_overlay_tells_its_own_path_and_the_container_even_when_all_is_over(
    tmp_path: Path,
) -> None:
    number = "5e" * 32
    script = (
        f"root = FOLDER / '{number}' / 'rootfs'\n"
        "for name in ('lower', 'upper', 'work'): (FOLDER / name).mkdir()\n"
        "root.mkdir(parents=True)\n"
        "program(FOLDER / 'lower')\n"
        "layers = f'lowerdir={FOLDER}/lower,upperdir={FOLDER}/upper,workdir={FOLDER}/work'\n"
        "mount('-t', 'overlay', 'overlay', '-o', layers, str(root))\n"
        "sensor.start(b'')\n"
        "if sensor.health().rung != 'fanotify': print('SKIP')\n"
        "sensor.poll(1 << 62)\n"
        "[process] = told_of(root / 'program')\n"
        "print(len(process.sha256), process.container)\n"
    )

    assert in_own_mounts(script, tmp_path) == [f"32 {number}"]


@pytest.mark.root
def test_once_open_the_sources_outlive_every_capability_and_new_mounts_are_said_to_be_missed(
    tmp_path: Path,
) -> None:
    script = (
        "sensor.start(b'')\n"
        "if sensor.health().rung != 'fanotify': print('SKIP')\n"
        "sensor.poll(1 << 62)\n"
        "other = subprocess.Popen(['sh'], stdin=subprocess.PIPE)\n"
        "keep_only(())\n"
        "[process] = told_of(program(FOLDER))\n"
        "print(len(process.sha256))\n"
        "other.communicate(f'mount -t tmpfs none {FOLDER}'.encode())\n"
        "sensor.poll(1 << 62)\n"
        "health = sensor.health()\n"
        "print(health.state.value, health.reason)\n"
    )

    first, second = in_own_mounts(script, tmp_path)

    assert first == "32"
    assert second.startswith("degraded /")
    assert second.count("needs CAP_SYS_ADMIN") == 1


@pytest.mark.root
def test_in_a_private_pid_namespace_no_event_is_taken_for_one_of_ours() -> None:
    script = (
        "from agent.hostroot import HostRoot\n"
        "from agent.sense.sensors.processes import ProcessSensor, ProcessSettings\n"
        "from runtime.clock import SystemClock\n"
        "import subprocess\n"
        "sensor = ProcessSensor(ProcessSettings(audit_records=False), HostRoot(), SystemClock())\n"
        "sensor.start(b'')\n"
        "subprocess.run(['/bin/true'])\n"
        "told = sensor.poll(1 << 62)\n"
        "health = sensor.health()\n"
        "print(health.rung, health.state.value, len(sensor.descriptors()))\n"
        "print({c for t in told for c in t.subject.value.caveats})\n"
        "print(sorted(t.subject.value.pid for t in told)[0], {t.kind.value for t in told})\n"
    )

    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )

    if "unshare" in done.stderr:
        pytest.skip(f"needs the right to make namespaces: {done.stderr.strip()}")
    assert done.stdout.splitlines() == [
        "poll degraded 0",
        "{'foreign pid namespace'}",
        "1 {'process_seen'}",
    ]


@pytest.mark.root
def test_in_a_private_network_passes_remain_and_the_kernels_no_is_told() -> None:
    script = (
        "from agent.hostroot import HostRoot\n"
        "from agent.sense.sensors.processes import ProcessSensor, ProcessSettings\n"
        "from runtime.clock import SystemClock\n"
        "sensor = ProcessSensor(ProcessSettings(audit_records=False), HostRoot(), SystemClock())\n"
        "sensor.start(b'')\n"
        "print(sensor.health().rung, sensor.health().reason)\n"
    )

    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )

    if "unshare" in done.stderr:
        pytest.skip(f"needs the right to make namespaces: {done.stderr.strip()}")
    assert done.stdout == "poll process events: Connection refused\n"


@pytest.mark.root
def test_without_rights_what_may_be_read_is_read_and_the_rest_is_said() -> None:
    script = (
        "import os, subprocess\n"
        "from agent.hostroot import HostRoot\n"
        "from agent.sense.sensors.processes import ProcessSensor, ProcessSettings\n"
        "from proto.model import Observation, ObservationKind\n"
        "from runtime.clock import SystemClock\n"
        "os.setgroups([])\n"
        "os.setresgid(65534, 65534, 65534)\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "clock = SystemClock()\n"
        "sensor = ProcessSensor(ProcessSettings(), HostRoot(), clock)\n"
        "sensor.start(b'')\n"
        "for _ in range(5): sensor.poll(clock.boot_ns() + 10**9)\n"
        "child = subprocess.Popen(['/bin/sleep', '30'])\n"
        "found, ends = [], clock.boot_ns() + 10 * 10**9\n"
        "while not found and clock.boot_ns() < ends:\n"
        "    told = sensor.poll(clock.boot_ns() + 10**8)\n"
        "    execs = [f.subject.value for f in told if isinstance(f, Observation)\n"
        "             and f.kind is ObservationKind.PROCESS_EXEC]\n"
        "    found += [process.argv for process in execs if process.pid == child.pid]\n"
        "child.kill()\n"
        "child.wait()\n"
        "health = sensor.health()\n"
        "print(health.rung, health.state.value, found == [('/bin/sleep', '30')])\n"
        "print(health.reason)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert not done.stderr, done.stderr
    first, reason = done.stdout.splitlines()
    if first.startswith("poll"):
        pytest.skip(f"this kernel tells the unprivileged nothing: {reason}")
    assert first == "procconn degraded True"
    assert "executables of other users cannot be read" in reason
    assert "executables are read from /proc: file system events: operation not permitted" in reason
    assert "arguments are read from /proc: audit: " in reason


def test_stopping_twice_or_unstarted_is_harmless() -> None:
    sensor = ProcessSensor(ProcessSettings(), HostRoot(), CLOCK)
    sensor.stop()
    assert sensor.poll(0) == []
    assert sensor.due() is None
    assert sensor.health().state is HealthState.BLIND
    before = len(list(Path("/proc/self/fd").iterdir()))

    sensor.start(b"")
    sensor.poll(CLOCK.boot_ns())
    sensor.stop()
    sensor.stop()

    assert len(list(Path("/proc/self/fd").iterdir())) <= before


# ------------------------------------------------------------------------------ a copied /proc


def a_copied_host(tmp_path: Path, clock: FakeClock, **settings: object) -> ProcessSensor:
    host = HostRoot(a_golden_host("debian12", tmp_path))
    sensor = ProcessSensor(ProcessSettings(**settings), host, clock)  # type: ignore[arg-type]
    sensor.start(b"")
    return sensor


def test_without_events_passes_remain_and_that_is_said(tmp_path: Path) -> None:
    clock = FakeClock()
    sensor = a_copied_host(tmp_path, clock)

    told = seen(drain(sensor, clock))

    assert list(sensor.descriptors()) == []
    assert (sensor.health().rung, sensor.health().state) == ("poll", HealthState.DEGRADED)
    assert [found.process.pid for found in told] == [1, 2, 812, 850, 857, 900, 901, 902, 1200, 1300]
    assert told[0].fact.source.coverage == (
        "processes alive at a pass every 60 s; shorter ones are missed"
    )


def test_a_pass_comes_every_interval_and_tells_only_news(tmp_path: Path) -> None:
    clock = FakeClock()
    sensor = a_copied_host(tmp_path, clock, reconcile_interval_s=30)
    drain(sensor, clock)

    quiet = drain(sensor, clock)
    clock.forward(30)
    exe = tmp_path / "debian12" / "proc" / "900" / "exe"
    exe.unlink()
    exe.symlink_to("/tmp/evil")
    told = seen(drain(sensor, clock))

    assert quiet == []
    assert [(found.process.pid, found.process.exe) for found in told] == [(900, "/tmp/evil")]


def test_a_host_without_proc_is_blind_and_says_so(tmp_path: Path) -> None:
    sensor = ProcessSensor(ProcessSettings(), HostRoot(tmp_path), FakeClock())

    sensor.start(b"")

    health = sensor.health()
    assert health.state is HealthState.BLIND
    assert "/proc" in health.reason
    assert sensor.due() is None


def test_processes_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    clock = FakeClock()
    sensor = a_copied_host(tmp_path, clock, processes_max=64)
    for pid in range(5000, 5100):
        (tmp_path / "debian12" / "proc" / str(pid)).mkdir()

    drain(sensor, clock)

    assert "47 processes beyond the limit" in sensor.health().reason


def test_a_snapshot_lists_what_is_there(tmp_path: Path) -> None:
    host = HostRoot(a_golden_host("debian12", tmp_path))

    listed = {process.pid: process for process in snapshot(host, FakeClock())}

    assert listed[1200].container == "4f" * 32
    assert listed[2].caveats == (identity.KERNEL_THREAD,)
    assert len(listed) == 10


class Ahead:
    """The real clocks, and time that passed meanwhile."""

    def __init__(self) -> None:
        self.ahead = 0

    def wall_ns(self) -> int:
        return CLOCK.wall_ns() + self.ahead

    def monotonic_ns(self) -> int:
        return CLOCK.monotonic_ns() + self.ahead

    def boot_ns(self) -> int:
        return CLOCK.boot_ns() + self.ahead


def test_the_dead_of_a_busy_minute_are_forgotten_before_the_next_pass() -> None:
    clock = Ahead()
    settings = ProcessSettings(audit_records=False, fanotify=False, reconcile_interval_s=3600)
    sensor = ProcessSensor(settings, HostRoot(), clock)
    sensor.start(b"")
    drain(sensor, clock)
    if sensor.health().rung == "poll":
        pytest.skip("no events of processes here")
    loop = "i=0; while [ $i -lt 600 ]; do (:); i=$((i+1)); done"
    remembered = []
    for _ in range(6):
        with subprocess.Popen(["/bin/sh", "-c", loop]) as shell:
            while shell.poll() is None:
                wait(sensor.descriptors(), 0.05)
                drain(sensor, clock)
        clock.ahead += 11 * NS_PER_S
        drain(sensor, clock)
        remembered.append(sensor.remembered)
    sensor.stop()

    assert remembered[-1] < 600 * 5
