"""The install that the README describes, for real, on a copy of this machine's file system."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Overlays in a mount namespace of its own: nothing of this reaches the machine.
SCRIPT = r"""
set -eu
mount -t tmpfs tmpfs "$SCRATCH"
for directory in usr etc var run; do
    mkdir -p "$SCRATCH/$directory/upper" "$SCRATCH/$directory/work"
    mount -t overlay overlay -o \
        "lowerdir=/$directory,upperdir=$SCRATCH/$directory/upper,workdir=$SCRATCH/$directory/work" \
        "/$directory"
done
sh "$TREE/packaging/install.sh" agent "$WHEEL" >&2
sh "$TREE/packaging/install.sh" collector "$WHEEL" >&2
test ! -e /usr/lib/vedette/agent/lib/python3*/site-packages/collector
test ! -e /usr/lib/vedette/collector/lib/python3*/site-packages/agent
cat >/etc/vedette/collector.toml <<TOML
[trust]
domain = "example.org"
server_names = ["127.0.0.1"]
[gateway]
intake_address = "127.0.0.1:$INTAKE"
enrollment_address = "127.0.0.1:$ENROLLMENT"
[console]
address = "127.0.0.1:$CONSOLE"
TOML
printf '[metrics]\nport = 0\n' >/etc/vedette/agent.toml
as_collector="setpriv --reuid vedette-collector --regid vedette-collector --clear-groups"
offline=/var/lib/vedette-collector/offline
$as_collector vedette-collector init --tenant acme --offline-keys "$offline" >&2
$as_collector vedette-collector run >"$SCRATCH/collector.log" 2>&1 &
collector=$!
for _ in $(seq 100); do
    $as_collector vedette-collector token --tenant acme >"$SCRATCH/token" 2>/dev/null && break
    sleep 0.2
done
for _ in $(seq 50); do
    vedette-agent enroll "127.0.0.1:$ENROLLMENT" --intake "127.0.0.1:$INTAKE" \
        --token-file "$SCRATCH/token" >&2 && break
    sleep 0.5
done
systemd-tmpfiles --create vedette-agent.conf
vedette-agent run >"$SCRATCH/agent.log" 2>&1 &
agent=$!
for _ in $(seq 60); do
    found=$($as_collector vedette-collector findings --json --severity medium 2>/dev/null | wc -l)
    [ "$found" -gt 0 ] && break
    sleep 0.5
done
$as_collector vedette-collector agents ls --json
kill "$agent" "$collector"
wait "$agent" "$collector" || true
tail -n 5 "$SCRATCH/agent.log" "$SCRATCH/collector.log" >&2
[ "$found" -gt 0 ]
"""


def can_overlay(path: Path) -> bool:
    mount = (
        f"mount -t tmpfs t {path} && cd {path} && mkdir l u w m"
        " && mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m"
    )
    done = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False)
    return done.returncode == 0


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_the_readmes_install_gives_two_halves_that_find_something(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("systemd-sysusers") is None:
        pytest.skip("needs root and systemd-sysusers")
    if not can_overlay(tmp_path):
        pytest.skip("overlay mounts are not permitted here")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("*.whl")
    intake, enrollment, console = free_ports(3)
    env = {
        **os.environ,
        "SCRATCH": str(scratch),
        "TREE": str(ROOT),
        "WHEEL": str(wheel),
        "PIP_PYTHON": pip_python(),
        "INTAKE": str(intake),
        "ENROLLMENT": str(enrollment),
        "CONSOLE": str(console),
    }

    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", SCRIPT],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    host = json.loads(done.stdout.splitlines()[-1])
    assert host["split"] == "users"
    assert host["trusted"]


def pip_python() -> str:
    """A Python with pip; the one of this environment has none where ensurepip is missing."""
    for name in ("python3", "python3.11", sys.executable):
        path = shutil.which(name)
        probe = [path or "false", "-c", "import pip"]
        if path and not subprocess.run(probe, check=False, capture_output=True).returncode:
            return path
    pytest.skip("no Python with pip")
