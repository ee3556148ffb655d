"""The worker as a process: what the kernel lets it do, and who may have it."""

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.commands import inspect
from agent.errors import FailReason
from agent.inspectframes import (
    MESSAGE_BYTES_MAX,
    Answer,
    Failed,
    Gunzip,
    Ready,
    decode_answer,
    encode,
)

NOBODY = 65534
PROGRAM = [sys.executable, "-P", "-m", "agent", "inspect"]

# The real command, up to the moment at which it would take a request: then the attack.
ATTACK = """
import argparse, ctypes, errno, json, mmap, os, socket, sys
from agent.commands import inspect
libc = ctypes.CDLL(None, use_errno=True)

def tried(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def raw(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")

def attack(line):
    told = {
        "open a file": tried(lambda: os.open("/etc/passwd", os.O_RDONLY)),
        "open itself": tried(lambda: os.open("/proc/self/mem", os.O_RDWR)),
        "make a file": tried(lambda: os.open("/tmp/made", os.O_CREAT | os.O_WRONLY)),
        "remove a file": tried(lambda: os.unlink("/tmp/made")),
        "list a directory": tried(lambda: os.listdir("/")),
        "network": tried(lambda: socket.socket(socket.AF_INET)),
        "netlink": tried(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
        "unix socket": tried(lambda: socket.socket(socket.AF_UNIX)),
        "run a program": tried(lambda: os.execv("/bin/true", ["true"])),
        "fork": tried(os.fork),
        "trace": tried(lambda: raw(101, 0, 0, 0, 0)),
        "kill another": tried(lambda: os.kill(os.getppid(), 0)),
        "change its user": tried(lambda: os.setresuid(0, 0, 0)),
        "lift a limit": tried(lambda: raw(302, 0, 0, 0, 0)),
        "make code": tried(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),
        "change the filter": tried(lambda: raw(317, 1, 0, 0)),
        "load a BPF program": tried(lambda: raw(321, 5, 0, 0)),
    }
    line.sendmsg([json.dumps(told).encode()])

inspect.serve = attack
sys.exit(inspect.run(argparse.Namespace(config=None)))
"""

ALLOWED = """
import argparse, json, sys
from agent.commands import inspect

def look(line):
    line.sendmsg([json.dumps(STATUS).encode()])

real = inspect.install
def install(calls):
    global STATUS
    import os, resource
    fields = dict(l.split(":", 1) for l in open("/proc/self/status") if ":" in l)
    STATUS = {
        "caps": [int(fields[n], 16) for n in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
        "no_new_privs": int(fields["NoNewPrivs"]),
        "fds": [fd for fd in range(3, 64) if os.path.exists(f"/proc/self/fd/{fd}")],
        "files": resource.getrlimit(resource.RLIMIT_FSIZE)[1],
        "memory": resource.getrlimit(resource.RLIMIT_AS)[1],
    }
    real(calls)

inspect.cage = lambda *_: None  # what is told of is read from files
inspect.install, inspect.serve = install, look
sys.exit(inspect.run(argparse.Namespace(config=None)))
"""


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(30)
    with ours, theirs:
        yield ours, theirs


def started(stdin: socket.socket, *words: str, user: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        list(words or PROGRAM),
        stdin=stdin.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        user=user,
        cwd="/",
        env={"PYTHONPATH": str(Path.cwd())},
    )


def hear(line: socket.socket) -> Answer:
    return decode_answer(line.recv(MESSAGE_BYTES_MAX))


def told_by(line: socket.socket, theirs: socket.socket, program: str) -> dict[str, object]:
    child = started(theirs, sys.executable, "-c", program)
    theirs.close()
    data = line.recv(MESSAGE_BYTES_MAX)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 0, err
    if data[:1] != b"{":
        answer = decode_answer(data)
        assert isinstance(answer, Failed)
        pytest.skip(answer.message)
    found: dict[str, object] = json.loads(data)
    return found


def test_a_taken_over_worker_is_refused_everything_by_the_kernel(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of the raw calls are those of x86-64")

    found = told_by(*pair, ATTACK)

    assert set(found.values()) <= {"EPERM", "EACCES"}
    assert len(found) == 17


def test_a_worker_has_no_right_no_descriptor_and_bounds(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    found = told_by(*pair, ALLOWED)

    assert found == {
        "caps": [0, 0, 0, 0],
        "no_new_privs": 1,
        "fds": [],
        "files": 0,
        "memory": inspect.MEMORY_BYTES_MAX,
    }


def test_it_works_until_the_asker_hangs_up(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    ours, theirs = pair
    (tmp_path / "log.gz").write_bytes(gzip.compress(b"line\n"))
    child = started(theirs)
    theirs.close()

    ready = hear(ours)
    with (tmp_path / "log.gz").open("rb") as file:
        socket.send_fds(ours, [encode(Gunzip())], [file.fileno()])
    told = [hear(ours), hear(ours)]
    ours.close()
    _, err = child.communicate(timeout=30)

    assert isinstance(ready, Ready)
    assert [type(answer).__name__ for answer in told] == ["Data", "Done"]
    assert (child.returncode, err) == (0, "")


def test_its_own_timer_ends_a_worker_that_nobody_can_kill(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    ours, theirs = pair
    (tmp_path / "log.gz").write_bytes(gzip.compress(bytes(64 << 20), 9) * 60)
    child = started(theirs)
    theirs.close()
    hear(ours)

    with (tmp_path / "log.gz").open("rb") as file:
        request = Gunzip(offset=1 << 60, ratio_max=1100, deadline_ms=100)
        socket.send_fds(ours, [encode(request)], [file.fileno()])
    last = ours.recv(MESSAGE_BYTES_MAX)

    assert last == b""
    child.communicate(timeout=30)
    assert child.returncode == -signal.SIGALRM


def test_a_file_that_would_take_too_much_memory_is_said_and_nothing_breaks(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    ours, theirs = pair
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(64 << 20), 9))
    child = started(theirs)
    theirs.close()
    hear(ours)

    with (tmp_path / "bomb.gz").open("rb") as file:
        socket.send_fds(ours, [encode(Gunzip(offset=1 << 40))], [file.fileno()])
    failed = hear(ours)
    ours.close()
    child.communicate(timeout=30)

    assert isinstance(failed, Failed)
    assert failed.reason is FailReason.TOO_LARGE
    assert child.returncode == 0


def test_without_a_filter_it_says_so_and_does_not_work(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    program = (
        "import argparse, sys\nfrom agent.commands import inspect\n"
        "from agent.seccomp import SeccompUnavailable\n"
        "def install(_):\n    raise SeccompUnavailable('seccomp: Function not implemented')\n"
        "inspect.install = install\nsys.exit(inspect.run(argparse.Namespace(config=None)))\n"
    )
    child = started(theirs, sys.executable, "-c", program)
    theirs.close()

    failed = hear(ours)
    child.communicate(timeout=30)

    assert failed == Failed(FailReason.OFF, "seccomp: Function not implemented")
    assert child.returncode == 1


def test_it_is_not_for_a_file_or_a_stream() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = started(theirs)
        _, said = stream.communicate(timeout=30)

    assert stream.returncode == 2
    assert said == "vedette-agent: inspect is started by sense or by its socket unit\n"
    with Path("/dev/null").open("rb") as file:
        done = subprocess.run(PROGRAM, stdin=file, capture_output=True, check=False, timeout=30)
    assert done.returncode == 2


@pytest.mark.root
def test_it_works_for_sense_and_for_no_other_user(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to be another user")
    ours, theirs = pair
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        words = {}
        for sense in ("0", "12345"):
            config = Path(folder) / f"agent-{sense}.toml"
            config.write_text(f'[privileges]\nsense_user = "{sense}"\n')
            words[sense] = (*PROGRAM, "--config", str(config))
        refused = started(theirs, *words["12345"], user=NOBODY)
        _, said = refused.communicate(timeout=30)
        if "Permission denied" in said or "No module" in said:
            pytest.skip(f"other users cannot run this program: {said}")
        taken = started(theirs, *words["0"], user=NOBODY)
        theirs.close()
        answer = hear(ours)
        ours.close()
        taken.communicate(timeout=30)

    assert refused.returncode == 2
    assert isinstance(answer, Ready)


def test_the_calls_it_keeps_open_nothing_and_start_nothing() -> None:
    reach = {"open", "openat", "openat2", "socket", "connect", "execve", "execveat", "fork",
             "clone", "clone3", "kill", "prctl", "ioctl", "unlink", "memfd_create"}  # fmt: skip

    assert not reach & set(inspect.CALLS)
