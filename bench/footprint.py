"""Footprint: what the agent takes from a host on which nothing happens.

The host is brought up to 430 processes, 200 sockets and 58,000 watched files. A collector is set up
and an agent enrolled; `sense` and `ship` run as under systemd, two processes with every sensor at
its defaults and the uplink open over mutual TLS. ``start_cpu_seconds`` are spent until the first
heartbeat: sealed by `sense`, receipted to `ship`. After they have settled they are watched for
``--scale`` seconds. Memory is read at the end, and once more (``backlog_extra_mib``, the sum of
both) with 500 MiB in the outbox and no collector. ``agent_idle_pss_mib`` is the sum of
the kernel's proportional shares, so what the collector on the same machine maps too counts in part;
``agent_alone_mib`` is what the two would occupy if no other program mapped any of their files, not
even the C library: a host lies between. Processor time and wakeups are those of all their threads;
``own_wakeups`` are those of our thread, without the timers of the gRPC library. The programs that
others start on the machine (``host_forks_per_second``) reach the process sensor and count.

Peer: two processes that import the libraries each half cannot do without, and do nothing. Needs
root.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from agent.sense.sensors.filetrees import DEFAULT_TREES, Tree
from bench import backlog, procfs
from bench.outboxlog import OutboxLog
from bench.quiethost import HostSize, a_quiet_host
from bench.report import BenchFailed, Figures, against
from bench.site import Site, a_site

CLOCK = "two idle daemons with the uplink open, after settling"
SCALE = 40
UNIT = "seconds"
SETTLE_S = 30
BACKLOG_BYTES: Final = 500 * 1024 * 1024
HALVES: Final = ("sense", "ship")

_BARE: Final[Mapping[str, str]] = {
    "sense": "import hashlib, sqlite3, msgspec, google.protobuf.message, selectors, logging;"
    "from cryptography.hazmat.primitives.asymmetric import ed25519",
    "ship": "import asyncio, grpc.aio, msgspec, google.protobuf.message, logging",
}


def measure(
    scale: int,
    settle_s: float = SETTLE_S,
    size: HostSize | None = None,
    backlog_bytes: int = BACKLOG_BYTES,
) -> Figures:
    """Start the agent, let it settle and watch it for ``scale`` seconds.

    Raises:
        BenchFailed: not root, so the memory of other users' processes cannot be read.
        DemoFailed: a daemon did not start.
    """
    if os.geteuid() != 0:
        raise BenchFailed("footprint needs root, to read the memory of the agent's users")
    with tempfile.TemporaryDirectory(prefix="vedette-tree-") as directory:
        tree = Path(directory) / "files"
        Path(directory).chmod(0o755)
        with a_quiet_host(size or HostSize(), tree), a_site(_files(tree)) as site:
            site.start_collector()
            site.enroll()
            for half in HALVES:
                # The first start compiles; an installed program has been compiled before.
                site.stage.command("vedette-agent", half, "--help")
            ours = _started(site)
            time.sleep(settle_s)
            ours |= _watched(site, scale)
            idle = sum(ours[f"{half}_idle_rss_mib"] for half in HALVES)
            behind = _with_backlog(site, settle_s, backlog_bytes)
            ours["backlog_extra_mib"] = max(0.0, behind - idle)
    with bare_imports() as pids:
        peer = memory_of(pids)
    return Figures(ours, {"bare_imports": against(ours, peer)})


def _files(tree: Path) -> str:
    trees = (*(_tree(one) for one in DEFAULT_TREES), f'{{ path = "{tree}" }}')
    return f"""
[sense.sensors.files]
entries_max = 100_000
trees = [{", ".join(trees)}]
"""


def _tree(one: Tree) -> str:
    return f'{{ path = "{one.path}", recursive = {str(one.recursive).lower()} }}'


def _started(site: Site) -> dict[str, float]:
    """Start both halves; return the processor time each took until its first heartbeat."""
    log = OutboxLog(site.header_log)
    used = {}
    begun = {"sense": lambda: _has_commits(log), "ship": lambda: _has_receipts(log)}
    for half in HALVES:
        site.start_agent(half)
        site.wait(f"the first heartbeat of {half}", begun[half])
        used[f"{half}_start_cpu_seconds"] = procfs.work(site.pid(half)).cpu_seconds
    return used


def _with_backlog(site: Site, settle_s: float, size_bytes: int) -> float:
    """Return what both halves take, in MiB, with a full outbox and nobody to send it to."""
    for daemon in ("ship", "sense", "collector"):
        site.stage.stop(daemon)
    backlog.fill(site.stage.agent_state, size_bytes)
    site.start_agent(*HALVES)
    time.sleep(settle_s)
    site.stage.check_alive()
    return sum(procfs.memory(site.pid(half)).rss for half in HALVES)


def _watched(site: Site, seconds: int) -> dict[str, float]:
    log = OutboxLog(site.header_log)
    pids = {half: site.pid(half) for half in HALVES}
    before = {half: procfs.work(pid) for half, pid in pids.items()}
    log.catch_up()
    forks, commits = _forks(), log.commits
    time.sleep(seconds)
    site.stage.check_alive()
    after = {half: procfs.work(pid) for half, pid in pids.items()}
    cpu = sum(after[half].cpu_seconds - before[half].cpu_seconds for half in HALVES)
    log.catch_up()
    tens = seconds / 10
    wakeups = {}
    for half in HALVES:
        all_threads = after[half].wakeups - before[half].wakeups
        own_thread = after[half].main_wakeups - before[half].main_wakeups
        wakeups[f"{half}_wakeups_in_10_s"] = all_threads / tens
        wakeups[f"{half}_own_wakeups_in_10_s"] = own_thread / tens
    return {
        **memory_of(pids),
        "idle_cpu_percent": 100 * cpu / seconds,
        **wakeups,
        "commits_in_10_s": (log.commits - commits) / tens,
        "host_forks_per_second": (_forks() - forks) / seconds,
    }


def memory_of(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the memory figures of two processes, by the half each stands for."""
    found = {half: procfs.memory(pid) for half, pid in pids.items()}
    return {
        **{f"{half}_idle_rss_mib": memory.rss for half, memory in found.items()},
        "agent_idle_pss_mib": sum(memory.pss for memory in found.values()),
        "agent_alone_mib": procfs.together(pids.values()),
        "agent_idle_anonymous_mib": sum(memory.anonymous for memory in found.values()),
    }


@contextmanager
def bare_imports() -> Iterator[dict[str, int]]:
    """Run processes that import what each half cannot do without, and then only wait."""
    with ExitStack() as running:
        pids = {}
        for half, imports in _BARE.items():
            child = subprocess.Popen(
                [sys.executable, "-P", "-c", f"{imports}; print(1, flush=True); input()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            running.callback(child.communicate, b"\n")
            if child.stdout is not None:
                child.stdout.readline()
            pids[half] = child.pid
        yield pids


def _has_commits(log: OutboxLog) -> bool:
    log.catch_up()
    return log.commits > 0


def _has_receipts(log: OutboxLog) -> bool:
    log.catch_up()
    return bool(log.receipted)


def _forks() -> int:
    for line in Path("/proc/stat").read_text("ascii").splitlines():
        if line.startswith("processes "):
            return int(line.split()[1])
    return 0
