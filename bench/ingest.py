"""Ingest: sealed batches over mutual TLS into the ledger, receipted after the sync.

Inside the clock of ``findings_per_core_second``, which is the server process's own CPU time, user
and system, of all its threads: TLS, gRPC, the enforcement point's checks on every message, the
header decoded, its signature verified, the body's digest, the place in its chain, the group commit
into SQLite with ``synchronous=FULL``, and the signed receipts. Four agents send 16 batches of 256
findings ahead, from another process; what they send was sealed before.

``durable_ack_p99_ms`` is from the moment an agent hands a batch to its channel to the receipt that
covers it, at half the rate of the first measurement. ``ledger_bytes_per_finding`` is the file.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

import grpc.aio
from msgspec import Struct

from bench.findings import findings
from bench.ingest_world import BATCH, World, a_world
from bench.report import BenchFailed, Figures, medians, percentile
from certs.channel import channel_credentials
from proto import codec
from proto.vedette.v1.envelope_pb2 import Reply

CLOCK = "mutual TLS, every check, durable commit and receipt; CPU time of the server process"
SCALE = 1_600
UNIT = "batches of 256 findings"
AGENTS = 4
WINDOW = 16
RUNS = 3
SERVER_WAIT_S = 60


_Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"
_Push: TypeAlias = "grpc.aio.StreamStreamMultiCallable[bytes, bytes]"


class _Agent:
    """One agent's connection: sends its batches, at most a window ahead, and times the receipts."""

    def __init__(self, channel: grpc.aio.Channel, messages: Sequence[bytes]) -> None:
        self._channel = channel
        self._messages = messages
        self.acked_s: list[float] = []

    async def run(self, interval_s: float) -> None:
        """Send everything; at full speed, or one batch an interval."""
        opening: _Push = self._channel.stream_stream(
            "/vedette.v1.Intake/Push", request_serializer=None, response_deserializer=None
        )
        call = opening()
        await call.read()
        sent: deque[float] = deque()
        room = asyncio.Semaphore(WINDOW)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(call, sent, room))
            began = time.perf_counter()
            for number, message in enumerate(self._messages):
                await room.acquire()
                ahead_s = began + number * interval_s - time.perf_counter()
                if ahead_s > 0:
                    await asyncio.sleep(ahead_s)
                sent.append(time.perf_counter())
                await call.write(message)
        await call.done_writing()
        await call.code()

    async def _receive(self, call: _Call, sent: deque[float], room: asyncio.Semaphore) -> None:
        covered = 0
        while covered < len(self._messages):
            data = await call.read()
            if not isinstance(data, bytes):
                raise BenchFailed(f"the collector ended the stream: {await call.details()}")
            reply = Reply.FromString(data)
            if reply.WhichOneof("kind") == "refused":
                raise BenchFailed(f"a batch was refused: reason {reply.refused.reason}")
            if reply.WhichOneof("kind") != "receipt":
                continue
            now = time.perf_counter()
            seq = codec.decode_receipt(reply.receipt.payload).seq
            for _ in range(seq - covered):
                self.acked_s.append(now - sent.popleft())
                room.release()
            covered = max(covered, seq)


class _Run(Struct, frozen=True):
    """What one run gave."""

    cpu_s: float
    wall_s: float
    ledger_bytes: int
    acked_s: list[float]


class _Server:
    """The gateway in a process of its own: one word to it, one line of JSON back.

    Args:
        said: what it prints.
        told: what it reads.
    """

    def __init__(self, said: IO[str], told: IO[str]) -> None:
        self._said = said
        self._told = told
        self.port = int(self._answer()["port"])

    def cpu_s(self) -> float:
        """Return the CPU time the process has taken so far."""
        return self._ask("cpu")["cpu_s"]

    def stop(self) -> int:
        """End it in order; return the size of the ledger it leaves."""
        return int(self._ask("stop")["ledger_bytes"])

    def _ask(self, word: str) -> dict[str, float]:
        self._told.write(f"{word}\n")
        self._told.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        line = self._said.readline()
        if not line:
            raise BenchFailed("the collector's process ended")
        found: dict[str, float] = json.loads(line)
        return found


def measure(scale: int) -> Figures:
    """Measure at full speed, then at half of it, three times each."""
    world = a_world(AGENTS)
    messages = [
        world.seal(number, findings(scale // AGENTS * BATCH, agent.id.bytes, seed=number))
        for number, agent in enumerate(world.agents)
    ]
    full = [_run(world, messages, 0) for _ in range(RUNS)]
    count = sum(len(of_one) for of_one in messages)
    slower = [_run(world, messages, 2 * AGENTS * run.wall_s / count) for run in full]
    found = count * BATCH
    return Figures(
        medians(
            [
                {
                    "findings_per_core_second": found / run.cpu_s,
                    "findings_per_second": found / run.wall_s,
                    "durable_ack_p99_ms": 1000 * percentile(half.acked_s, 0.99),
                    "durable_ack_p50_ms": 1000 * percentile(half.acked_s, 0.5),
                    "saturated_ack_p99_ms": 1000 * percentile(run.acked_s, 0.99),
                    "ledger_bytes_per_finding": run.ledger_bytes / found,
                    "raw_bytes_per_finding": world.raw_bytes / found,
                }
                for run, half in zip(full, slower, strict=True)
            ]
        )
    )


def _run(world: World, messages: Sequence[Sequence[bytes]], interval_s: float) -> _Run:
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as scratch:
        world.write(Path(scratch))
        with _serving(Path(scratch)) as server:
            before = server.cpu_s()
            began = time.perf_counter()
            acked_s = asyncio.run(_send(world, server.port, messages, interval_s))
            wall_s = time.perf_counter() - began
            cpu_s = server.cpu_s() - before
            return _Run(cpu_s, wall_s, server.stop(), acked_s)


async def _send(
    world: World, port: int, messages: Sequence[Sequence[bytes]], interval_s: float
) -> list[float]:
    agents = []
    async with asyncio.TaskGroup() as group:
        for agent, of_one in zip(world.agents, messages, strict=True):
            channel = grpc.aio.secure_channel(
                f"localhost:{port}", channel_credentials(world.root_pem, agent.tls)
            )
            agents.append((_Agent(channel, of_one), channel))
            group.create_task(agents[-1][0].run(interval_s))
    for _, channel in agents:
        await channel.close()
    return [seconds for agent, _ in agents for seconds in agent.acked_s]


@contextmanager
def _serving(folder: Path) -> Iterator[_Server]:
    command = [sys.executable, "-m", "bench.ingest_server", str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise BenchFailed("the collector's process has no pipes")
        try:
            yield _Server(process.stdout, process.stdin)
            process.wait(SERVER_WAIT_S)
        finally:
            process.kill()
