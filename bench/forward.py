"""Forwarding: admitted findings on their way to an HTTP Event Collector.

Inside the clock of ``hec_findings_per_core_second``, in CPU time of the whole forwarding process:
each batch of 256 selected, every finding made an event with its ids and encoded, payloads
compressed and posted over HTTP on loopback, answers judged, the cursor committed and synced.
Reading and opening the ledger is not inside: batches lie in memory. ``latency_`` is from the moment
a batch may be read until the receiver has taken it: one batch of 8 at a time, to a destination that
is idle, with no wait for company.

The peer posts the same encoded events one a request over the same client, uncompressed, as
forwarders without batches do.
"""

import asyncio
import gc
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.findings import TENANT as TENANT_BYTES
from bench.findings import findings
from bench.report import BenchFailed, Figures, against, medians, percentile
from certs.identity import AgentId, TenantId
from collector.forward.delivery import Delivery, Tools
from collector.forward.ports import Sent, TenantLedger
from collector.forward.select import select
from collector.forward.settings import BatchLimits, Filter, HecDestination
from collector.forward.sinks.splunk_hec import HecSink
from collector.forward.store import ForwardStore
from collector.ports import Admitted, AdmittedBatch
from proto import model
from runtime.clock import SystemClock

CLOCK = (
    "selected, encoded, compressed, posted to HEC on loopback, cursor synced; CPU of the process"
)
SCALE = 40_000
UNIT = "findings"
BATCH = 256
RUNS = 3
SINGLE_POSTS = 1_000
LATENCY_BATCHES = 150
LATENCY_BATCH = 8
LATENCY_PAUSE_S = 0.02
WAIT_S_MAX = 120.0

TENANT = TenantId(TENANT_BYTES)
AGENT = AgentId(b"\x01" * 16)


class Ledger:
    """Admitted batches in memory; more may be added."""

    def __init__(self, batches: Sequence[AdmittedBatch] = ()) -> None:
        self.batches = list(batches)

    def read(self, after_position: int, batches_max: int) -> Sequence[AdmittedBatch]:
        """Return the next batches; positions count from 1 without gaps."""
        return self.batches[after_position : after_position + batches_max]

    def mark(self) -> int:
        """Return the last position."""
        return len(self.batches)


class WatchedSink(HecSink):
    """Notes when the receiver has taken so many payloads."""

    taken_at: float = 0.0

    async def send(self, payload: bytes) -> Sent:
        """Send, then look at the clock."""
        sent = await super().send(payload)
        self.taken_at = time.perf_counter()
        return sent


def measure(scale: int) -> Figures:
    """Measure throughput and latency against a receiver in another process.

    Raises:
        BenchFailed: the receiver did not start, or not everything arrived.
    """
    with receiver() as url, tempfile.TemporaryDirectory(prefix="vedette-bench-") as scratch:
        batches = admitted(scale, BATCH)
        gc.freeze()  # the input stands for a ledger on disk: no collection shall walk over it
        ours, peer = [], []
        for number in range(RUNS):
            home = Path(scratch, str(number))
            home.mkdir()
            ours.append(asyncio.run(_throughput(home, url, batches)))
            peer.append(asyncio.run(_one_by_one(home, url, batches)))
        home = Path(scratch, "latency")
        home.mkdir()
        waits_s = asyncio.run(_latencies(home, url))
    metrics = medians(ours)
    metrics["latency_p50_seconds"] = percentile(waits_s, 0.5)
    metrics["latency_p99_seconds"] = percentile(waits_s, 0.99)
    return Figures(metrics, {"one_event_a_request": against(metrics, medians(peer))})


def admitted(count: int, size: int) -> list[AdmittedBatch]:
    """Return so many findings in batches of a size."""
    found = list(findings(count, AGENT.bytes))
    chunks = [found[start : start + size] for start in range(0, count, size)]
    return [_batch(chunk, position) for position, chunk in enumerate(chunks, start=1)]


@contextmanager
def receiver() -> Iterator[str]:
    """Run the receiver and give its address.

    Raises:
        BenchFailed: it did not start.
    """
    command = [sys.executable, "-m", "bench.forward_receiver"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise BenchFailed("the receiver has no pipes")
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise BenchFailed("the receiver did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()
            process.wait(timeout=10)


async def _throughput(home: Path, url: str, batches: Sequence[AdmittedBatch]) -> dict[str, float]:
    road = _Road(home, url, Ledger(batches))
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    task = asyncio.get_running_loop().create_task(road.delivery.run())
    await road.until(len(batches), look_s=0.02)
    cpu_s, wall_s = time.process_time() - began_cpu_s, time.perf_counter() - began_s
    await road.end(task)
    count = sum(len(batch.records) for batch in batches)
    return {
        "hec_findings_per_core_second": count / cpu_s,
        "hec_findings_per_second": count / wall_s,
        "hec_bytes_per_event": road.bytes_per_event(batches[0]),
    }


async def _latencies(home: Path, url: str) -> list[float]:
    batches = admitted(LATENCY_BATCHES * LATENCY_BATCH, LATENCY_BATCH)
    ledger = Ledger()
    road = _Road(home, url, ledger)
    task = asyncio.get_running_loop().create_task(road.delivery.run())
    waits_s = []
    for position, batch in enumerate(batches, start=1):
        ledger.batches.append(batch)
        began_s = time.perf_counter()
        road.delivery.wake()
        await road.until(position)
        waits_s.append(road.sink.taken_at - began_s)
        await asyncio.sleep(LATENCY_PAUSE_S)
    await road.end(task)
    return waits_s


async def _one_by_one(home: Path, url: str, batches: Sequence[AdmittedBatch]) -> dict[str, float]:
    """Encode and post every event alone."""
    sink = HecSink(_destination(home, url, gzip=False), SystemClock())
    events = [event for batch in batches for event in select(batch, Filter())][:SINGLE_POSTS]
    began_cpu_s = time.process_time()
    for event in events:
        await sink.send(sink.pack([sink.encode(event, time.time_ns())]))
    cpu_s = time.process_time() - began_cpu_s
    await sink.close()
    return {"hec_findings_per_core_second": len(events) / cpu_s}


class _Road:
    """One delivery from a ledger in memory to the receiver."""

    def __init__(self, home: Path, url: str, ledger: Ledger) -> None:
        clock = SystemClock()
        destination = _destination(home, url, gzip=True)
        self._store = ForwardStore(home / "forward.db")
        self._pool = ThreadPoolExecutor(2)
        self.sink = WatchedSink(destination, clock)
        self.delivery = Delivery(
            TenantLedger(TENANT, ledger, lambda: None),
            self._store,
            destination,
            self.sink,
            Tools(clock, random.Random(1).random, self._pool),
        )

    async def until(self, position: int, look_s: float = 0.001) -> None:
        """Wait until the cursor stands behind a batch, looking every ``look_s`` seconds.

        Raises:
            BenchFailed: it takes too long.
        """
        deadline_s = time.monotonic() + WAIT_S_MAX
        while self.delivery.cursor.position < position:
            if time.monotonic() > deadline_s:
                raise BenchFailed("not everything was taken", hint=self.delivery.health.detail)
            await asyncio.sleep(look_s)

    async def end(self, task: "asyncio.Task[None]") -> None:
        """Stop the delivery and let go of its file."""
        task.cancel()
        await asyncio.wait([task])
        self._store.close()
        self._pool.shutdown()

    def bytes_per_event(self, batch: AdmittedBatch) -> float:
        """Return the size of an encoded event, before compression."""
        encoded = [self.sink.encode(event, time.time_ns()) for event in select(batch, Filter())]
        return sum(map(len, encoded)) / len(encoded)


def _destination(home: Path, url: str, *, gzip: bool) -> HecDestination:
    token = home / "token"
    token.write_text("bench")
    return HecDestination(
        name="bench",
        url=url,
        token_file=str(token),
        gzip=gzip,
        batch=BatchLimits(wait_s_max=0),
    )


def _batch(found: Sequence[model.Finding], position: int) -> AdmittedBatch:
    header = model.Header(
        version=1,
        tenant=TENANT.bytes,
        agent=AGENT.bytes,
        key_id=bytes(32),
        epoch=bytes(16),
        seq=position,
        previous=b"",
        body_sha256=bytes(32),
        compression=model.Compression.ZLIB,
        body_bytes=1,
        raw_bytes=1,
        records=len(found),
        root=bytes(32),
        priority=model.Priority.HIGH,
        first_time=found[0].event_time,
        last_time=found[-1].event_time,
        wall=found[-1].event_time,
        boot_clock=1,
        boot_id=bytes(16),
        split=model.Split.USERS,
        agent_version="0",
        host_name="bench",
    )
    records = tuple(
        Admitted(model.RecordRef(AGENT.bytes, bytes(16), position, index), finding)
        for index, finding in enumerate(found)
    )
    return AdmittedBatch(
        tenant=TENANT,
        position=position,
        agent=AGENT,
        received=found[-1].observed_at,
        header=header,
        records=records,
        trusted=True,
        derived=False,
    )
