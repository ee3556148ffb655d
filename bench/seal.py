"""Sealing: findings become signed batches on disk, as the agent's privileged half makes them.

Inside the clock of ``findings_per_second``: each finding encoded, each batch of 256 hashed,
compressed, signed, chained, written and synced, and its header noted and synced (two fdatasync a
batch). ``encoded_`` leaves the encoding out, ``seal_only_`` also the disk.

The peer stores the same findings as rows of SQLite in transactions of 256 with a write-ahead log
and ``synchronous=FULL``, with and without their encoding; it neither signs, compresses nor chains.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from agent.sense.batch import OpenBatch
from agent.sense.outbox import Outbox, OutboxSettings
from agent.sense.seal import HostFacts, Sealer, Surroundings
from bench.findings import BOOT, TENANT, findings
from bench.report import Figures, against, medians, seconds_of
from certs.identity import agent_id_of
from certs.signatures import SigningKey
from proto import codec, model
from runtime.clock import SystemClock

CLOCK = "encoded, sealed in batches of 256 and made durable (two fdatasync a batch)"
SCALE = 40_000
UNIT = "findings"
BATCH = 256
RUNS = 5


def measure(scale: int) -> Figures:
    """Measure sealing and the peer in turn, on the same disk."""
    host = _Host()
    found = list(findings(scale, host.facts.agent))
    ours, peer = [], []
    for _ in range(RUNS):
        encode_s = seconds_of(lambda: [codec.encode_record(finding) for finding in found])
        with tempfile.TemporaryDirectory(prefix="vedette-bench-") as scratch:
            ours.append(_ours(host, found, encode_s, Path(scratch)))
            peer.append(_peer(found, encode_s, Path(scratch)))
    metrics = medians(ours)
    return Figures(metrics, {"sqlite_wal_full": against(metrics, medians(peer))})


def _ours(
    host: "_Host", found: Sequence[model.Finding], encode_s: float, root: Path
) -> dict[str, float]:
    batches = list(_batches(found))
    store_s = seconds_of(lambda: host.keep(batches, root))
    return {
        "findings_per_second": len(found) / (encode_s + store_s),
        "encoded_findings_per_second": len(found) / store_s,
        "seal_only_findings_per_second": len(found) / seconds_of(lambda: host.seal(batches)),
        "outbox_bytes_per_finding": host.bytes_stored / len(found),
    }


def _peer(found: Sequence[model.Finding], encode_s: float, root: Path) -> dict[str, float]:
    records = [(codec.encode_record(finding),) for finding in found]
    store_s = seconds_of(lambda: _rows(records, root / "rows.db"))
    return {
        "findings_per_second": len(found) / (encode_s + store_s),
        "encoded_findings_per_second": len(found) / store_s,
        "outbox_bytes_per_finding": (root / "rows.db").stat().st_size / len(found),
    }


class _Host:
    """One agent's key, and what it seals and keeps with it."""

    def __init__(self) -> None:
        self._key = SigningKey.generate()
        self._clock = SystemClock()
        self.bytes_stored = 0
        self.facts = HostFacts(
            tenant=TENANT,
            agent=agent_id_of(self._key.public.raw).bytes,
            key_id=self._key.public.key_id,
            boot_id=BOOT,
            host_name="bench",
            agent_version="0",
            split=model.Split.USERS,
        )

    def seal(self, batches: Sequence[OpenBatch]) -> None:
        """Seal batches and keep none."""
        sealer = self._sealer()
        for batch in batches:
            sealer.seal(batch, Surroundings())

    def keep(self, batches: Sequence[OpenBatch], root: Path) -> None:
        """Seal and commit batches, one a commit."""
        sealer, outbox = self._sealer(), self._outbox(root)
        outbox.begin(sealer.epoch, BOOT, self._clock.boot_ns())
        for batch in batches:
            sealed = sealer.seal(batch, Surroundings())
            outbox.commit([sealed], {"files": b"cursor"}, self._clock.boot_ns())
        self.bytes_stored = sum(item.durable for item in outbox.visible())
        outbox.close()

    def _sealer(self) -> Sealer:
        opens = model.EpochStart(reason=model.EpochReason.FIRST)
        return Sealer(self._key, self.facts, opens, self._clock, os.urandom)

    def _outbox(self, root: Path) -> Outbox:
        (root / "outbox").mkdir()
        outbox = Outbox(root / "headers.log", root / "outbox", OutboxSettings())
        outbox.open(self._key.public)
        return outbox


def _batches(found: Sequence[model.Finding]) -> Iterator[OpenBatch]:
    for start in range(0, len(found), BATCH):
        batch = OpenBatch(model.Priority.HIGH)
        for finding in found[start : start + BATCH]:
            batch.add(codec.encode_record(finding), finding.event_time, 0)
        yield batch


def _rows(records: Sequence[tuple[bytes]], path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE findings (id INTEGER PRIMARY KEY, record BLOB NOT NULL)")
        for start in range(0, len(records), BATCH):
            db.execute("BEGIN")
            db.executemany(
                "INSERT INTO findings (record) VALUES (?)", records[start : start + BATCH]
            )
            db.execute("COMMIT")
