"""kill -9 of the real worker, at random moments, while batches keep coming."""

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certs.identity import TenantId
from collector.correlate.rules import RULES
from collector.ledger.log import LogReader
from collector.ledger.reader import LedgerReader
from collector.ledger.sqlite import SqliteLedger
from collector.work import TICK_S
from proto.model import CheckState, Finding, Incident, IncidentStatus, Score
from runtime.clock import NS_PER_S
from tests.collector.shell import (
    Sealing,
    Shell,
    a_detection,
    a_detection_time,
    a_verdict,
    admitted,
    derived,
    dump,
    until_idle,
    working,
)

WAIT_S = 30
SETTINGS = """
[comply]
score_interval_s_min = 1
settle_s = 0

[[forward]]
type = "jsonl"
name = "file"
path = "{path}"
"""
KINDS = ("indicator.sha256", "indicator.address", "login.failed")
VERDICTS = (CheckState.FAIL, CheckState.PASS, CheckState.UNKNOWN)
PER_BATCH = 5
AGE_NS = 86_400 * NS_PER_S


def a_finding(number: int) -> Finding:
    """So long ago that every incident is closed at the next tick, and begun anew by what comes."""
    at = a_detection_time(number) - AGE_NS
    return a_detection(number, KINDS[number % len(KINDS)], event_time=at, observed_at=at)


class Load(threading.Thread):
    """Hosts that send without end, as the gateway keeps it: durably, in a process of its own."""

    def __init__(self, shell: Shell, tenant: TenantId) -> None:
        super().__init__()
        self._shell = shell
        self._tenant = tenant
        self._hosts = [Sealing(tenant, f"host-{number}") for number in range(4)]
        self._stopped = threading.Event()
        self.batches: Counter[bytes] = Counter()
        self.records: Counter[bytes] = Counter()

    def run(self) -> None:
        ledger = SqliteLedger(self._shell.files, self._shell.clock, os.urandom)
        number = 0
        while not self._stopped.wait(0.01):
            for host in self._hosts:
                number += 1
                found = [a_finding(number * PER_BATCH + n) for n in range(PER_BATCH)]
                host.clock.wall = time.time_ns()
                verdict = a_verdict(VERDICTS[number % len(VERDICTS)])
                ledger.append(self._tenant, [host.seal(*found, verdict)])
                self.batches[host.agent] += 1
                self.records[host.agent] += PER_BATCH + 1
        ledger.close()

    def stop(self) -> None:
        self._stopped.set()
        self.join(WAIT_S)

    @property
    def findings(self) -> int:
        return sum(self.records.values())


@contextmanager
def a_worker(shell: Shell) -> Iterator["subprocess.Popen[bytes]"]:
    """The real process, from when it says that it is ready."""
    path = shell.folder / "notify"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
        (shell.folder / "work.log").open("ab") as lines,
    ):
        listener.bind(str(path))
        listener.settimeout(WAIT_S)
        command = [sys.executable, "-m", "collector", "run", "--role", "work"]
        child = subprocess.Popen(
            [*command, "--config", str(shell.config)],
            env={**os.environ, "NOTIFY_SOCKET": str(path)},
            stderr=lines,
        )
        try:
            assert listener.recv(99) == b"READY=1"
            yield child
        finally:
            child.kill()
            child.wait(WAIT_S)
            path.unlink()


def position(shell: Shell, tenant: TenantId) -> int:
    reader = LedgerReader(shell.files.ledger(tenant))
    last = reader.last_position()
    reader.close()
    return last


def until_still(shell: Shell, tenant: TenantId) -> None:
    """Wait until all that there was is done: taken in, scored, sealed, signed for, forwarded.

    A tick may still have something to tell, so that has to hold for longer than a tick takes.
    """
    deadline = time.monotonic() + 2 * WAIT_S
    since = time.monotonic()
    seen = -1
    while time.monotonic() - since < 2.5 * TICK_S:
        now = position(shell, tenant)
        if now != seen or now != signed_for(shell, tenant) or cursors(shell, tenant) != {now}:
            since = time.monotonic()
        seen = now
        assert time.monotonic() < deadline, (now, cursors(shell, tenant))
        time.sleep(0.2)


def signed_for(shell: Shell, tenant: TenantId) -> int:
    log = LogReader(shell.files.log(tenant))
    size = log.checkpoint_size()
    log.close()
    return size


def cursors(shell: Shell, tenant: TenantId) -> set[int]:
    """Every cursor; a destination's moves over batches it has nothing of, too."""
    found = set()
    for name in ("index", "correlate", "comply", "forward"):
        rows = query(shell, tenant, name, POSITION[name == "forward"])
        found |= {int(str(row[0])) for row in rows}
    return found


POSITION = ("SELECT position FROM cursor", "SELECT position FROM destinations")


def query(shell: Shell, tenant: TenantId, name: str, text: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(shell.files.projection(tenant, name))
    rows = db.execute(text).fetchall()
    db.close()
    return rows


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_nothing_is_taken_in_twice_or_lost_by_a_worker_that_is_killed(
    tmp_path: Path, fault_count: int
) -> None:
    moments = random.Random(20260921)
    shell = Shell(tmp_path, SETTINGS.format(path=tmp_path / "siem.jsonl"))
    tenant = shell.init()
    load = Load(shell, tenant)
    load.start()
    for number in range(fault_count):
        with a_worker(shell) as child:
            # Most lives are short; some last long enough to look at the clock, and close and score.
            time.sleep(moments.uniform(0, 0.8) if number % 3 else moments.uniform(1, 3) * TICK_S)
            child.send_signal(signal.SIGKILL)
            assert child.wait(WAIT_S) == -signal.SIGKILL
    load.stop()
    with a_worker(shell) as child:
        until_still(shell, tenant)
        child.terminate()
        assert child.wait(WAIT_S) == 0

    assert load.findings > 500
    check_admitted_once(shell, tenant)
    check_projected_once(shell, tenant, load)
    check_sealed_once(shell, tenant)
    check_forwarded(shell, tenant)
    check_rebuilt(shell, tenant)


def check_admitted_once(shell: Shell, tenant: TenantId) -> None:
    log = LogReader(shell.files.log(tenant))
    last = position(shell, tenant)

    assert log.mark() == last
    assert log.size() == last
    assert log.refused() == 0
    assert [batch.position for batch in admitted(shell, tenant)] == list(range(1, last + 1))
    log.close()


def check_projected_once(shell: Shell, tenant: TenantId, load: Load) -> None:
    """A host's counters show a batch that was applied twice, even where its rows do not."""
    hosts = query(shell, tenant, "index", "SELECT agent, batches, records FROM hosts")
    assert {bytes(a): n for a, n, _ in hosts} == load.batches  # type: ignore[call-overload]
    assert {bytes(a): n for a, _, n in hosts} == load.records  # type: ignore[call-overload]
    (uids,) = query(shell, tenant, "index", "SELECT count(*), count(DISTINCT uid) FROM findings")
    assert uids == (load.findings, load.findings)
    for name in ("index", "correlate", "comply"):
        assert query(shell, tenant, name, "SELECT * FROM poison") == []
        assert query(shell, tenant, name, "SELECT * FROM pending") == []


def check_sealed_once(shell: Shell, tenant: TenantId) -> None:
    told = derived(shell, tenant, Incident)
    revisions: dict[bytes, list[int]] = defaultdict(list)
    for incident in told:
        revisions[incident.uid].append(incident.revision)
    assert {incident.rule.id for incident in told} == {rule.id for rule in RULES}
    assert all(found == list(range(1, len(found) + 1)) for found in revisions.values())
    assert IncidentStatus.CLOSED in {incident.status for incident in told}
    scores = Counter((score.framework, score.as_of) for score in derived(shell, tenant, Score))
    assert len(scores) > 3
    assert set(scores.values()) == {1}
    own = [batch.header for batch in admitted(shell, tenant) if batch.derived]
    assert [header.seq for header in own] == list(range(1, len(own) + 1))
    assert len({header.epoch for header in own}) == 1


def check_forwarded(shell: Shell, tenant: TenantId) -> None:
    """At least once: what comes again has the id that it had."""
    lines = (shell.folder / "siem.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines if line]
    titles = Counter(str(event.get("title", "")) for event in events)
    wanted = query(shell, tenant, "index", "SELECT title FROM findings WHERE kind = 'detection'")
    missing = {str(title) for (title,) in wanted} - titles.keys()
    assert missing == set()


def check_rebuilt(shell: Shell, tenant: TenantId) -> None:
    before = {name: dump(shell.files.projection(tenant, name)) for name in ("index", "correlate")}
    last = position(shell, tenant)
    for name in before:
        (shell.files.directory(tenant) / f"{name}.rebuild").touch()
    with working(shell, tenant) as worked:
        until_idle(worked)
    for name, rows in before.items():
        assert dump(shell.files.projection(tenant, name)) == rows
    assert position(shell, tenant) == last
