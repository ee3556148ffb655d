"""The laws of confinement, seen from a child that confines itself."""

import json
import subprocess
import sys
from pathlib import Path

from msgspec.structs import astuple

from agent.sense.confine import Confinement

BOUNDS = Confinement(memory_bytes_max=1 << 30, cpu_s_max=60, file_bytes_max=4096)

PROGRAM = """
import json, os, resource, sys
from agent.sense.confine import Confinement, confine
extra = os.dup(1)
confine(Confinement(*json.loads(sys.argv[2])))
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


FORBIDDEN = """
import resource
def forbidden(*_):
    raise PermissionError(1, "Operation not permitted")
resource.setrlimit = resource.getrlimit = forbidden
from agent.sense.confine import Confinement, confine
confine(Confinement(memory_bytes_max=1 << 30, cpu_s_max=60, file_bytes_max=4096))
print("confined")
"""


def child(program: str, *words: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        check=True,
        timeout=30,
        text=True,
        env={"PYTHONPATH": str(Path.cwd())},
    ).stdout


def test_a_confined_child_has_no_privilege_no_descriptor_and_bounds(tmp_path: Path) -> None:
    found = json.loads(child(PROGRAM, str(tmp_path / "large"), json.dumps(astuple(BOUNDS))))

    assert found == {
        "caps": [0, 0, 0, 0],
        "no_new_privs": 1,
        "closed": True,
        "bounded": True,
        "memory": BOUNDS.memory_bytes_max,
        "core": [0, 0],
    }


def test_a_unit_that_forbids_setting_bounds_does_not_stop_the_child() -> None:
    assert child(FORBIDDEN) == "confined\n"
