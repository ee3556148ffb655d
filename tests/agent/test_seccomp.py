"""The laws of the filter: what a child that installs it can still do, and what the filter says."""

import errno
import json
import platform
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.seccomp import CALLS, SeccompUnavailable, program

MACHINES = ("x86_64", "aarch64")
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000

NEEDED = ("read", "write", "brk", "mmap", "munmap", "mprotect", "futex", "rt_sigaction")

CHILD = """
import ctypes, errno, json, mmap, os, socket, sys, threading
from agent.seccomp import SeccompUnavailable, install
libc = ctypes.CDLL(None, use_errno=True)
ready, go = threading.Event(), threading.Event()
told = {}

def tried(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def in_a_thread():
    ready.set()
    go.wait()
    told["open in a thread"] = tried(lambda: os.open("/etc/passwd", os.O_RDONLY))

thread = threading.Thread(target=in_a_thread)
thread.start()
ready.wait()
try:
    install(sys.argv[1].split(), deny=int(sys.argv[2]))
except SeccompUnavailable as error:
    go.set()
    print(json.dumps({"unavailable": str(error)}))
    sys.exit()
go.set()
thread.join()
told["open"] = tried(lambda: os.open("/etc/passwd", os.O_RDONLY))
told["socket"] = tried(lambda: socket.socket(socket.AF_INET))
told["unix socket"] = tried(lambda: socket.socket(socket.AF_UNIX))
told["exec"] = tried(lambda: os.execv("/bin/true", ["true"]))
told["fork"] = tried(os.fork)
told["memory"] = tried(lambda: mmap.mmap(-1, 4096))
told["memory to run"] = tried(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC))
told["ptrace"] = "done" if libc.ptrace(0, 0, 0, 0) == 0 else errno.errorcode[ctypes.get_errno()]
os.write(1, json.dumps(told).encode())
os._exit(0)
"""

FOREIGN = """
import ctypes, mmap, sys
from agent.seccomp import SeccompUnavailable, install
code = bytes.fromhex("b814000000cd80c3")  # mov eax, getpid of 32 bits; int 0x80; ret
page = mmap.mmap(-1, 4096, prot=7)
page.write(code)
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
if call() < 0:
    sys.exit(77)
try:
    install(sys.argv[1].split())
except SeccompUnavailable:
    sys.exit(77)
call()
"""


WITHIN_A_UNIT = """
import os, sys
from agent.seccomp import CALLS, SeccompUnavailable, install
try:
    install(CALLS)  # as a unit does: everything, but not the newer call that installs a filter
except SeccompUnavailable:
    sys.exit(77)
install(sys.argv[1].split())
try:
    os.open("/etc/passwd", os.O_RDONLY)
except PermissionError:
    os.write(1, b"refused")
os._exit(0)
"""


def child(text: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", text, *words],
        capture_output=True,
        check=False,
        timeout=30,
        text=True,
        env={"PYTHONPATH": str(Path.cwd())},
    )


def told_by_child(deny: int) -> dict[str, str]:
    done = child(CHILD, " ".join(NEEDED), str(deny))
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    if reason := found.get("unavailable"):
        pytest.skip(reason)
    return found


@pytest.mark.parametrize("deny", [errno.EPERM, errno.EACCES])
def test_a_filtered_process_makes_the_calls_it_was_left_and_no_other(deny: int) -> None:
    refused = errno.errorcode[deny]

    assert told_by_child(deny) == {
        "open in a thread": refused,
        "open": refused,
        "socket": refused,
        "unix socket": refused,
        "exec": refused,
        "fork": refused,
        "memory": "done",
        "memory to run": refused,
        "ptrace": refused,
    }


def test_a_call_of_another_architecture_ends_the_process() -> None:
    if platform.machine() != "x86_64":
        pytest.skip("calls of 32 bits are made on x86-64 only")
    done = child(FOREIGN, " ".join(NEEDED))
    if done.returncode == 77 or "PermissionError" in done.stderr:
        pytest.skip("no calls of 32 bits, no memory to run, or no seccomp here")

    assert done.returncode == -31, done.stderr  # SIGSYS


def test_within_the_filter_of_a_unit_a_second_one_is_installed_all_the_same() -> None:
    done = child(WITHIN_A_UNIT, " ".join(NEEDED))
    if done.returncode == 77:
        pytest.skip("no seccomp here")

    assert done.stdout == "refused", done.stderr


def verdict(code: bytes, architecture: int, number: int, third: int = 0) -> int:
    """Run a filter as the kernel would."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, 0, 0, third, 0, 0, 0)
    lines = list(struct.iter_unpack("=HBBI", code))
    value, at = 0, 0
    while True:
        kind, yes, no, k = lines[at]
        at += 1
        if kind == 0x20:
            (value,) = struct.unpack_from("=I", data, k)
        elif kind == 0x15:
            at += yes if value == k else no
        elif kind == 0x45:
            at += yes if value & k else no
        else:
            assert kind == 0x06
            return int(k)


@pytest.mark.parametrize("machine", MACHINES)
@given(
    names=st.sets(st.sampled_from(sorted(CALLS)), max_size=60),
    number=st.integers(0, 2**32 - 1) | st.integers(0, 500),
    third=st.integers(0, 2**64 - 1),
)
def test_a_filter_allows_the_numbers_of_its_names_and_no_other(
    machine: str, names: set[str], number: int, third: int
) -> None:
    code = program(names, machine)
    which = MACHINES.index(machine)
    always = {"exit", "exit_group", "rt_sigreturn"}
    numbers = {CALLS[name][which] for name in names | always} - {-1}
    executable = {CALLS[name][which] for name in ("mmap", "mprotect")} & numbers

    found = verdict(code, ARCHITECTURES[machine], number, third)

    is_left = number in numbers and not (number in executable and third & 4)
    assert found == (ALLOW if is_left else ERROR | errno.EPERM)
    assert verdict(code, 0x40000003, number, third) == KILL


def test_every_name_at_once_is_a_filter_that_the_kernel_would_read() -> None:
    for machine in MACHINES:
        assert len(program(CALLS, machine)) // 8 <= 4096


def test_the_numbers_are_those_of_the_kernels_headers() -> None:
    found: dict[str, list[int]] = {}
    for which, (path, form) in enumerate(
        (
            ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", r"#define __NR_(\w+)\s+(\d+)$"),
            ("/usr/include/asm-generic/unistd.h", r"#define __NR(?:3264)?_(\w+)\s+(\d+)$"),
        )
    ):
        if not Path(path).exists():
            pytest.skip(f"{path} is not installed")
        for name, number in re.findall(form, Path(path).read_text(), re.MULTILINE):
            found.setdefault("newfstatat" if name == "fstatat" else name, [-1, -1])[which] = int(
                number
            )

    assert {name: tuple(found[name]) for name in CALLS} == CALLS


def test_an_unknown_name_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="openfile"):
        program(["openfile"], "x86_64")


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(SeccompUnavailable, match="riscv64"):
        program(["read"], "riscv64")
