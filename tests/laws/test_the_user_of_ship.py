"""What a fallen `ship` can do to `sense`: nothing. Tried out as its user, on a running agent."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.segments import FRAME_BYTES
from tests.agent.daemons import GROUP, SHIP, Daemon, a_daemon, a_split_machine
from tests.agent.machine import Machine

pytestmark = pytest.mark.root

AUTH_LOG = "/var/log/auth.log"
CONFIG = f"""
[metrics]
port = 0
[sense.sensors]
enabled = ["authlog"]
[sense.sensors.authlog]
paths = ["{AUTH_LOG}"]
[sense.sealing]
low_wait_ms_max = 200
low_wait_offline_ms_max = 200
"""
# What the child runs first: it becomes the user of `ship` and finds out what it may do.
PRELUDE = f"""
import ctypes, fcntl, json, mmap, os, random, resource, socket, stat, struct, sys, time
from agent.privileges import become
become("{SHIP}", "{GROUP}")
def may(call, *words):
    try:
        call(*words)
    except PermissionError:
        return False
    return True
def tell(found):
    json.dump(found, sys.stdout)
"""


class Running:
    """A split agent whose `sense` runs, with one record sealed for each line of a log."""

    def __init__(self, machine: Machine, sense: Daemon) -> None:
        self.machine = machine
        self.sense = sense
        self.log = Path(machine.paths.host_root + AUTH_LOG)
        self.lines = 0

    def fail_logins(self, count: int) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="microseconds")
        with self.log.open("a") as file:
            for _ in range(count):
                self.lines += 1
                file.write(
                    f"{stamp} demo sshd[{self.lines}]: Failed password for root "
                    f"from 192.0.2.{self.lines % 250} port {self.lines} ssh2\n"
                )

    def records(self) -> int:
        """How many records are sealed that are not of the start."""
        return sum(one.records for one in self.machine.sealed())

    def segments(self) -> list[Path]:
        return sorted(Path(self.machine.paths.outbox).glob("*.seg"))


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with a_split_machine() as machine:
        log = Path(machine.paths.host_root + AUTH_LOG)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
        log.chmod(0o644)
        machine.config.write_text(machine.config.read_text() + CONFIG)
        with a_daemon(machine, "sense") as sense:
            sense.until("READY=1")
            running = Running(machine, sense)
            sealed = settled(running)
            running.fail_logins(3)
            wait_for(running, sealed + 3)
            yield running
            assert sense.process.poll() is None


def wait_for(running: Running, count: int, wait_s: float = 15) -> None:
    end = time.monotonic() + wait_s
    while running.records() < count:
        assert time.monotonic() < end, f"{running.records()} of {count} records"
        time.sleep(0.05)


def settled(running: Running) -> int:
    """Wait until what the start itself seals is sealed."""
    end = time.monotonic() + 15
    while not running.machine.sealed() and time.monotonic() < end:
        time.sleep(0.05)
    return running.records()


def as_ship(program: str, *words: object) -> Any:  # noqa: ANN401  (whatever JSON holds)
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program, *map(str, words)],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
        env={"PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_no_file_of_sense_and_no_secret_of_the_host_can_be_read(running: Running) -> None:
    secret = running.machine.folder / "secret"
    secret.write_text("of root alone")
    secret.chmod(0o600)
    kept = sorted(running.machine.sense.iterdir())
    assert {"signing.pem", "headers.log"} <= {path.name for path in kept}

    read = as_ship(
        "tell({path: may(os.open, path, os.O_RDONLY) for path in sys.argv[1:]}"
        " | {'list': may(os.listdir, sys.argv[1]), 'look': may(os.stat, sys.argv[2])})",
        running.machine.sense,
        *kept,
        secret,
        "/etc/shadow",
    )

    assert not any(read.values()), read


def test_a_segment_can_be_read_and_nothing_else_be_done_to_it(running: Running) -> None:
    segment = running.segments()[0]
    before = segment.read_bytes()
    status = segment.stat()

    found = as_ship(
        """
path, ship = sys.argv[1], sys.argv[2]
fd = os.open(path, os.O_RDONLY)
size = os.fstat(fd).st_size
tell({
    "bytes": len(os.pread(fd, size, 0)),
    "write": may(os.open, path, os.O_WRONLY),
    "read and write": may(os.open, path, os.O_RDWR),
    "cut while opening": may(os.open, path, os.O_RDONLY | os.O_TRUNC),
    "reopen": may(os.open, f"/proc/self/fd/{fd}", os.O_RDWR),
    "map": may(mmap.mmap, fd, size),
    "truncate": may(os.truncate, path, 0),
    "unlink": may(os.unlink, path),
    "rename": may(os.rename, path, ship + "/mine"),
    "replace": may(os.rename, ship + "/identity.json", path),
    "chmod": may(os.chmod, path, 0o666),
    "chown": may(os.chown, path, os.geteuid(), -1),
    "set times": may(os.utime, path, (1, 1)),
    "lease": may(fcntl.fcntl, fd, fcntl.F_SETLEASE, fcntl.F_RDLCK),
    "add a file": may(os.open, path + ".low.seg", os.O_CREAT | os.O_WRONLY),
    "add a link": may(os.symlink, "/etc/passwd", os.path.dirname(path) + "/link"),
})
""",
        segment,
        running.machine.ship,
    )

    assert found.pop("bytes") == len(before)
    assert not any(found.values()), found
    assert segment.read_bytes()[:FRAME_BYTES] == before[:FRAME_BYTES]
    assert segment.stat().st_mode == status.st_mode


def test_a_segment_cannot_be_linked_to_be_kept(running: Running) -> None:
    if Path("/proc/sys/fs/protected_hardlinks").read_text().strip() != "1":
        pytest.skip("this kernel lets anyone link any file (fs.protected_hardlinks is off)")

    linked = as_ship(
        "tell(may(os.link, sys.argv[1], sys.argv[2] + '/kept'))",
        running.segments()[0],
        running.machine.ship,
    )

    assert linked is False


def test_the_process_of_sense_is_closed(running: Running) -> None:
    """Not dumpable: what the kernel shows of it belongs to root."""
    found = as_ship(
        """
pid = int(sys.argv[1])
proc = f"/proc/{pid}"
libc = ctypes.CDLL(None, use_errno=True)
def attach(request):
    if libc.ptrace(request, pid, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
tell({
    **{name: may(os.open, f"{proc}/{name}", os.O_RDONLY)
       for name in ("mem", "environ", "maps", "auxv", "syscall", "stack")},
    "fd": may(os.listdir, f"{proc}/fd"),
    "an open file": may(os.open, f"{proc}/fd/3", os.O_RDONLY),
    **{name: may(os.readlink, f"{proc}/{name}") for name in ("exe", "cwd", "root")},
    "attach": may(attach, 16),
    "seize": may(attach, 0x4206),
    "kill": may(os.kill, pid, 9),
    "stop": may(os.kill, pid, 19),
    "limit": may(resource.prlimit, pid, resource.RLIMIT_NOFILE, (1, 1)),
    "pin": may(os.sched_setaffinity, pid, {0}),
    "slow down": may(os.setpriority, os.PRIO_PROCESS, pid, 19),
})
""",
        running.sense.pid,
    )

    assert not any(found.values()), found


def test_the_door_cannot_be_taken_away_or_stood_in_for(running: Running) -> None:
    found = as_ship(
        """
door = sys.argv[1]
other = socket.socket(socket.AF_UNIX)
tell({
    "unlink": may(os.unlink, door),
    "rename": may(os.rename, door, door + ".old"),
    "bind beside": may(other.bind, door + ".new"),
    "chmod": may(os.chmod, door, 0),
})
""",
        running.machine.paths.door,
    )

    assert not any(found.values()), found
    assert Path(running.machine.paths.door).is_socket()


def test_a_lock_or_an_open_descriptor_stops_nothing(running: Running) -> None:
    before = running.records()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PRELUDE
            + """
held = [open(path, "rb") for path in sys.argv[1:]]
for file in held:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
tell("held")
sys.stdout.flush()
sys.stdin.read()
""",
            *map(str, running.segments()),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path.cwd())},
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.read(6) == b'"held"'
        running.fail_logins(5)
        wait_for(running, before + 5)
    finally:
        holder.communicate(b"", timeout=10)


HOSTILE = """
from agent import doorframes as frames
from proto.model import StatementKind
from runtime.frames import encode_frame

door, seconds = sys.argv[1], float(sys.argv[2])
noise = random.Random(7)
def frame(one):
    return encode_frame(frames.encode(one))
def visits():
    yield noise.randbytes(noise.randrange(1, 100_000))
    yield b"\\xff\\xff\\xff\\xff"
    yield encode_frame(noise.randbytes(50))
    yield encode_frame(b"\\xdd" + b"\\xff" * 40)
    yield encode_frame(b"\\x91" * 5000)
    yield frame(frames.MetricsWanted()) * 5000
    yield frame(frames.ReceiptFrame(noise.randbytes(200), noise.randbytes(64), noise.randbytes(32)))
    yield frame(frames.Damaged("0000000000000001.low.seg")) * 500
    yield frame(frames.Damaged("../../../etc/shadow"))
    yield frame(frames.SignRequest(1, StatementKind.RENEW, bytes(32), bytes(16))) * 100
    yield frame(frames.Chunk(1, noise.randbytes(200_000), 2**60)) * 5
    yield frame(frames.CheckpointFrame(noise.randbytes(3000), (bytes(32),) * 100))
    yield frame(frames.Uplink(is_online=False)) * 100
    yield (200_000).to_bytes(4, "big") + bytes(100)
    yield b""
end, count, crowd = time.monotonic() + seconds, 0, []
while time.monotonic() < end:
    for data in visits():
        visitor = socket.socket(socket.AF_UNIX)
        visitor.settimeout(0.2)
        try:
            visitor.connect(door)
            visitor.sendall(data)
        except OSError:
            pass
        crowd = [*crowd[-20:], visitor]
        count += 1
tell(count)
"""


@pytest.mark.slow
def test_no_frame_stops_sensing(running: Running) -> None:
    before = running.records()
    memory = rss_bytes(running.sense.pid)
    hostile = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + HOSTILE, running.machine.paths.door, "3"],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path.cwd())},
    )
    sealed_meanwhile = 0
    for _ in range(30):
        running.fail_logins(1)
        time.sleep(0.1)
        sealed_meanwhile = running.records() - before
    out, _ = hostile.communicate(timeout=20)

    assert hostile.returncode == 0
    assert json.loads(out) > 100
    # It went on under the assault, not only after it.
    assert sealed_meanwhile >= 10
    wait_for(running, before + 30)
    assert running.sense.process.poll() is None
    assert rss_bytes(running.sense.pid) < memory + 32 * 1024 * 1024
    audits = running.records() - before - 30
    # Statements that were asked for in the noise are sealed, and few.
    assert audits <= 4 + 2


@pytest.mark.slow
def test_no_flood_of_visits_keeps_a_finding_from_the_disk(running: Running) -> None:
    """The door gets its turn once a turn of the loop, however many knock."""
    before = running.records()
    crowd = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PRELUDE
            + """
end = time.monotonic() + 2
while time.monotonic() < end:
    visitor = socket.socket(socket.AF_UNIX)
    visitor.setblocking(False)
    try:
        visitor.connect(sys.argv[1])
    except OSError:
        pass
    visitor.close()
tell("done")
""",
            running.machine.paths.door,
        ],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path.cwd())},
    )
    time.sleep(0.5)
    running.fail_logins(1)
    wait_for(running, before + 1, wait_s=3)
    crowd.communicate(timeout=10)

    assert crowd.returncode == 0


def rss_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_what_ship_itself_keeps_is_closed_to_everyone_else(running: Running) -> None:
    assert running.machine.ship.stat().st_mode & 0o777 == 0o700
    assert running.machine.ship.stat().st_uid == int(SHIP)
    assert {path.stat().st_uid for path in running.machine.ship.iterdir()} == {int(SHIP)}
    assert Path(running.machine.paths.outbox).stat().st_mode & 0o777 == 0o750
