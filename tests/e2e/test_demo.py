"""The demo as a person runs it: by root, and by an ordinary user."""

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.everyone import NOBODY, as_user

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

KEYS = {
    "findings",
    "by_kind",
    "batches",
    "receipts",
    "incidents",
    "frameworks",
    "forwarded",
    "proof_verified",
    "lost",
    "duplicated",
    "seconds",
}
SECONDS_MAX = 60
RULES = {"indicator.ip_port": "address", "login.failed": "login"}
FLIPS = 8
SEED = 20_261_122


class Stand:
    """A directory to run the demo in, and who runs it."""

    def __init__(self, python: str = sys.executable, before: Sequence[str] = ()) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="vedette-e2e-demo-"))
        self.root.chmod(0o755)
        self.keep = self.root / "kept"
        self.python = python
        self.before = tuple(before)

    def run(self, module: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run one of our programs."""
        return subprocess.run(
            [*self.before, self.python, "-P", "-m", module, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=170,
            cwd=self.root,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(self.root)},
        )

    def rows(self, *words: str) -> list[dict[str, Any]]:
        """Run a command of the collector that the demo left behind."""
        config = ("--config", str(self.keep / "collector.toml"), "--json")
        done = self.run("collector", *words, *config)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def verify(self, proof: Path, trust: Path) -> int:
        """Verify a proof offline."""
        return self.run("vedette", "verify", str(proof), "--trust", str(trust)).returncode


@pytest.fixture
def stand() -> Iterator[Stand]:
    stand = Stand()
    yield stand
    shutil.rmtree(stand.root, ignore_errors=True)


def test_the_demo_shows_everything_and_leaves_a_proof(stand: Stand) -> None:
    done = stand.run("vedette", "demo", "--json", "--keep", str(stand.keep))

    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown.keys() == KEYS
    assert (shown["lost"], shown["duplicated"], shown["proof_verified"]) == (0, 0, True)
    assert shown["receipts"] == shown["batches"] > 0
    assert shown["seconds"] <= SECONDS_MAX
    assert shown["forwarded"] > 0 < shown["incidents"]
    assert set(shown["frameworks"]) == {"iso27001", "nist80053", "soc2"}
    assert shown["findings"] == sum(shown["by_kind"].values())
    assert acts(stand.rows("findings")) >= {"file", "process", "address", "login"}
    check_proof(stand)


def acts(findings: list[dict[str, Any]]) -> set[str]:
    """Return which of the demo's acts were found."""
    seen = set()
    for row in findings:
        kinds = {entity["value"]["type"] for entity in row["body"]["entities"]}
        if row["rule"] == "indicator.sha256":
            is_file = "file" in kinds and row["body"]["process"] is None
            seen.add("file" if is_file else "process")
        elif row["rule"] in RULES:
            seen.add(RULES[row["rule"]])
    return seen


def check_proof(stand: Stand) -> None:
    """See that the proof holds offline, and that no byte of it may be another."""
    proof, trust = stand.keep / "proof.tlog-proof", stand.keep / "trust.json"
    assert stand.verify(proof, trust) == 0

    data = proof.read_bytes()
    places = random.Random(SEED).sample(range(len(data)), FLIPS)
    bent = stand.root / "bent"
    for place in places:
        bent.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert stand.verify(bent, trust) == 1, place


@pytest.mark.root
def test_an_ordinary_user_sees_the_demo_with_fewer_sensors_and_is_told_so(
    everyones_python: str,
) -> None:
    stand = Stand(everyones_python, as_user(NOBODY))
    shutil.chown(stand.root, NOBODY, NOBODY)
    try:
        done = stand.run("vedette", "demo", "--keep", str(stand.keep))

        assert done.returncode == 0, done.stderr
        told = {
            line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.split()
        }
        assert (told["lost"], told["duplicated"], told["split"]) == (["0"], ["0"], ["none"])
        assert told["one"] == ["finding", "verified", "offline"]
        assert {"degraded", "blind"} & {word.strip(",") for word in told["sensors"]}
        assert acts(stand.rows("findings")) >= {"file", "address", "login"}
        assert stand.verify(stand.keep / "proof.tlog-proof", stand.keep / "trust.json") == 0
    finally:
        shutil.rmtree(stand.root, ignore_errors=True)
