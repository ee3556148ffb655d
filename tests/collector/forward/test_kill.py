"""Killed at any moment, the forwarder loses nothing, and what comes twice has the same id."""

import asyncio
import functools
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from collector.forward.event import Place
from collector.forward.select import select
from collector.forward.settings import Filter
from collector.forward.store import ForwardReader
from tests.collector.builders import TENANT
from tests.collector.forward.builders import eventually, some_batches
from tests.fakes.hec import HecReceiver

ROOT = Path(__file__).parents[3]
# More than are forwarded between one kill and the next.
BATCHES_PER_FAULT = 40
SEED = 20_260_921


def started(path: Path, url: str, batches: int) -> "subprocess.Popen[bytes]":
    program = Path(__file__).with_name("child.py")
    return subprocess.Popen(
        [sys.executable, program, path, url, str(batches)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
async def test_kill_9_at_random_moments_loses_nothing_and_renames_nothing(
    tmp_path: Path, fault_count: int
) -> None:
    rng = random.Random(SEED)
    batches = BATCHES_PER_FAULT * fault_count
    uids = all_ids(batches)
    async with HecReceiver() as receiver:
        receiver.wait_s = 0.004
        for _ in range(fault_count):
            seen = receiver.requests
            child = started(tmp_path, receiver.url, batches)
            await eventually(functools.partial(has_asked, receiver, seen))
            await asyncio.sleep(rng.uniform(0, 0.05))
            child.kill()
            child.wait()
        at_last_kill = len(receiver.ids)
        receiver.wait_s = 0
        child = started(tmp_path, receiver.url, batches)
        try:
            await eventually(lambda: cursor(tmp_path) == Place(batches), 60)
        finally:
            child.kill()
            child.wait()

    counts = Counter(receiver.ids)
    assert set(counts) == uids
    assert 0 < at_last_kill < len(uids)
    # Each kill repeats at most what was under way: four payloads of 25 events, in two rounds.
    assert sum(counts.values()) - len(uids) <= fault_count * 2 * 4 * 25


def has_asked(receiver: HecReceiver, before: int) -> bool:
    return receiver.requests > before


def all_ids(count: int) -> set[str]:
    """The ids of every event the child forwards."""
    batches = some_batches(count, findings=20)
    return {event.uid for batch in batches for event in select(batch, Filter())}


def cursor(path: Path) -> Place:
    with ForwardReader(path / str(TENANT) / "forward.db") as reader:
        return reader.statuses()[0].cursor
