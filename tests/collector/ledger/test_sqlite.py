"""What only a ledger on a disk can break: its promise over the end of a process."""

import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from collector.errors import LedgerCorrupt, LedgerUnavailable
from collector.ledger.chain import Verdict
from collector.ledger.files import TenantFiles
from collector.ledger.sqlite import SqliteLedger
from tests.collector.sealing import OTHER_TENANT, TENANT, AnAgent
from tests.fakes.clock import FakeClock

ROOT = Path(__file__).parents[3]
STRACE = shutil.which("strace")


def open_ledger(root: Path) -> SqliteLedger:
    return SqliteLedger(TenantFiles(root), FakeClock(), Random(0).randbytes)


def crashing(root: Path, *arguments: int, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    command = [
        *prefix,
        sys.executable,
        "-m",
        "tests.collector.ledger.crashing",
        str(root),
        *(str(argument) for argument in arguments),
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def said(output: str, word: str) -> set[int]:
    whole = output[: output.rfind("\n") + 1].splitlines()
    return {int(line.split()[1]) for line in whole if line.startswith(word)}


def check(root: Path, kept: set[int], sent: int) -> int:
    """Everything acknowledged is there once, in order; return how many batches there are."""
    ledger = open_ledger(root)
    agent = AnAgent()
    batches = [agent.seal([b"x" * 500]) for _ in range(sent)]
    stored = ledger.read(TENANT, 0, 100_000, 1 << 40)
    file = sqlite3.connect(TenantFiles(root).ledger(TENANT))

    assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert [one.header for one in stored] == [one.header_bytes for one in batches[: len(stored)]]
    assert max(kept, default=0) <= len(stored)
    outcomes = ledger.append(TENANT, batches)
    verdicts = [one.verdict for one in outcomes]
    assert verdicts == [Verdict.DUPLICATE] * len(stored) + [Verdict.ACCEPT] * (sent - len(stored))
    file.close()
    ledger.close()
    return len(stored)


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing_acknowledged_and_keeps_nothing_twice(
    tmp_path: Path, fault_count: int
) -> None:
    random, kept, start = Random(7), set[int](), 0
    for _ in range(fault_count):
        process = crashing(tmp_path, start, 4000, 8)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random.uniform(0, 0.15))
        process.kill()
        output = first + process.stdout.read()
        process.wait()
        process.stdout.close()
        kept |= said(output, "kept")
        # The agent sends again what was not acknowledged.
        start = max(kept, default=0)

    assert start > 0
    assert check(tmp_path, kept, start + 50) >= start


@pytest.mark.slow
@pytest.mark.skipif(STRACE is None, reason="needs strace")
@pytest.mark.parametrize("fault", ["fdatasync:error=EIO", "pwrite64:error=ENOSPC"])
@pytest.mark.parametrize("when", [9, 14])
def test_a_failing_disk_is_never_acknowledged_and_costs_nothing_later(
    tmp_path: Path, fault: str, when: int
) -> None:
    trace = tmp_path / "trace"
    prefix = [str(STRACE), "-f", "-o", str(trace), "-e", f"inject={fault}:when={when}"]
    process = crashing(tmp_path, 0, 40, 1, prefix=prefix)
    output, _ = process.communicate(timeout=50)
    if "Operation not permitted" in trace.read_text() and not output:
        pytest.skip("may not trace processes here")

    assert "INJECTED" in trace.read_text()
    assert len(said(output, "refused")) <= 1
    assert check(tmp_path, said(output, "kept"), 60) >= len(said(output, "kept")) > 0
    if process.returncode == 0:
        assert said(output, "kept") == set(range(1, 41))


@pytest.mark.slow
@pytest.mark.skipif(STRACE is None, reason="needs strace")
def test_nothing_is_acknowledged_before_it_is_synced(tmp_path: Path) -> None:
    """Between the last write to any file and the word that a batch is kept there is a sync."""
    trace = tmp_path / "trace"
    calls = "trace=openat,pwrite64,fdatasync,fsync,write"
    prefix = [str(STRACE), "-f", "-o", str(trace), "-e", calls, "-s", "16"]
    output, _ = crashing(tmp_path, 0, 20, 1, prefix=prefix).communicate(timeout=50)
    if not output:
        pytest.skip("may not trace processes here")

    unsynced: set[str] = set()
    names: dict[str, str] = {}
    acknowledged = 0
    for line in trace.read_text().splitlines():
        if opened := re.search(r'openat\(.*"(.*?)".*= (\d+)', line):
            names[opened[2]] = opened[1]
        elif wrote := re.search(r"pwrite64\((\d+)", line):
            if not names.get(wrote[1], "").endswith("-shm"):
                unsynced.add(wrote[1])
        elif synced := re.search(r"f(?:data)?sync\((\d+)\)\s+= 0", line):
            unsynced.discard(synced[1])
        elif re.search(r'write\(1, "kept', line):
            assert not unsynced, line
            acknowledged += 1
    assert acknowledged == 20


def test_one_tenants_damaged_file_is_no_other_tenants_trouble(tmp_path: Path) -> None:
    files = TenantFiles(tmp_path)
    files.make(TENANT)
    files.ledger(TENANT).write_bytes(b"garbage" * 1000)
    ledger = open_ledger(tmp_path)

    with pytest.raises(LedgerCorrupt):
        ledger.append(TENANT, [AnAgent().seal()])

    stranger = AnAgent(tenant=OTHER_TENANT)
    assert ledger.append(OTHER_TENANT, [stranger.seal()])[0].verdict is Verdict.ACCEPT


def test_a_directory_that_cannot_be_made_can_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "tenants").write_text("in the way")
    ledger = open_ledger(tmp_path)

    with pytest.raises(LedgerUnavailable):
        ledger.append(TENANT, [AnAgent().seal()])
    (tmp_path / "tenants").unlink()

    assert ledger.append(TENANT, [AnAgent().seal()])[0].verdict is Verdict.ACCEPT


def test_two_processes_may_write_one_file_in_turn(tmp_path: Path) -> None:
    """The gateway writes agents' batches while the worker seals the collector's own."""
    gate, work = open_ledger(tmp_path), open_ledger(tmp_path)
    agent, own = AnAgent(0), AnAgent("own")
    gate.append(TENANT, [agent.seal()])

    def seal_own() -> None:
        for _ in range(20):
            work.append_own(TENANT, own.id, None, lambda _: own.seal())

    thread = threading.Thread(target=seal_own)
    thread.start()
    for _ in range(20):
        gate.append(TENANT, [agent.seal()])
    thread.join()

    assert [one.position for one in gate.read(TENANT, 0, 99, 1 << 30)] == list(range(1, 42))
    assert [head.seq for head in gate.heads(TENANT, own.id, 9)] == [20]
