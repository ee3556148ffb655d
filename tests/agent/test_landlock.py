"""The laws of the cage, seen from a child that shuts itself in."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent.landlock import ABI_LEAST, cage, landlock_abi

PROGRAM = """
import json, os, socket, sys
from pathlib import Path
from agent.landlock import cage
from agent.privileges import seal_privileges
base = Path(sys.argv[1])
seal_privileges()
is_caged = cage([base / "read", base / "nowhere"], [base / "write"])

def tried(act):
    try:
        act()
    except OSError:
        return False
    return True

(base / "write" / "made").write_text("x")
told = {
    "caged": is_caged,
    "read allowed": tried(lambda: (base / "read" / "file").read_text()),
    "read elsewhere": tried(lambda: (base / "secret").read_text()),
    "list elsewhere": tried(lambda: list(base.iterdir())),
    "write where only reading": tried(lambda: (base / "read" / "file").write_text("y")),
    "rename inside": tried(
        lambda: (base / "write" / "made").rename(base / "write" / "below" / "made")
    ),
    "link the secret in": tried(lambda: os.link(base / "secret", base / "write" / "stolen")),
    "signal the parent": tried(lambda: os.kill(os.getppid(), 0)),
    "connect": tried(
        lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=5).close()
    ),
}
json.dump(told, sys.stdout)
"""


def needs(abi: int) -> None:
    if landlock_abi() < abi:
        pytest.skip(f"the kernel's Landlock is version {landlock_abi()}, needed is {abi}")


def told_by_child(base: Path, port: int = 9) -> dict[str, bool]:
    for name in ("read", "write/below"):
        (base / name).mkdir(parents=True)
    (base / "read" / "file").write_text("text")
    (base / "secret").write_text("secret")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(base), str(port)],
        capture_output=True,
        check=True,
        timeout=30,
        env={"PYTHONPATH": str(Path.cwd())},
    )
    found: dict[str, bool] = json.loads(done.stdout)
    return found


def test_a_caged_process_reaches_what_it_was_left_and_nothing_else(tmp_path: Path) -> None:
    needs(ABI_LEAST)

    found = told_by_child(tmp_path)

    assert found.pop("caged")
    found.pop("signal the parent")
    found.pop("connect")
    assert found == {
        "read allowed": True,
        "read elsewhere": False,
        "list elsewhere": False,
        "write where only reading": False,
        "rename inside": True,
        "link the secret in": False,
    }


def test_a_caged_process_signals_nobody_outside(tmp_path: Path) -> None:
    needs(6)

    assert not told_by_child(tmp_path)["signal the parent"]


def test_a_caged_process_connects_to_nobody(tmp_path: Path) -> None:
    needs(4)

    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not told_by_child(tmp_path, server.getsockname()[1])["connect"]


def test_without_landlock_a_process_is_told_that_it_is_not_caged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("agent.landlock.landlock_abi", lambda: 0)

    assert not cage([tmp_path], [tmp_path])
