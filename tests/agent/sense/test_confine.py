"""The laws of confinement, seen from a child that confines itself."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, os, resource, sys
from agent.sense.confine import Confinement, confine
extra = os.dup(1)
confine(Confinement(memory_bytes_max=1 << 30, cpu_s_max=60, file_bytes_max=4096))
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
try:
    os.fstat(extra)
    is_closed = False
except OSError:
    is_closed = True
try:
    with open(sys.argv[1], "wb") as file:
        file.write(bytes(8192))
    is_bounded = False
except OSError:
    is_bounded = True
json.dump({
    "caps": [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")],
    "no_new_privs": int(status["NoNewPrivs"]),
    "closed": is_closed,
    "bounded": is_bounded,
    "memory": resource.getrlimit(resource.RLIMIT_AS)[1],
    "core": resource.getrlimit(resource.RLIMIT_CORE),
}, sys.stdout)
"""


def test_a_confined_child_has_no_privilege_no_descriptor_and_bounds(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "large")],
        capture_output=True,
        check=True,
        timeout=30,
        env={"PYTHONPATH": str(Path.cwd())},
    ).stdout

    found = json.loads(told)

    assert found == {
        "caps": [0, 0, 0, 0],
        "no_new_privs": 1,
        "closed": True,
        "bounded": True,
        "memory": 1 << 30,
        "core": [0, 0],
    }
