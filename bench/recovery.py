"""Recovery: how long receipts stop when a process is killed under load.

A collector and an agent run as real processes, each under its supervisor, while failed logins are
written to the watched log all the time. One process after another is killed with SIGKILL, each
``--scale`` times. Inside the clock: from the kill to a receipt, verified and noted by `sense`, for
a batch that was sealed after the kill. It holds the supervisor's wait, the start of a new process,
the way back into the connection, sealing (100 ms here) and the receipt. There is no peer.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from bench.outboxlog import OutboxLog
from bench.report import BenchFailed, Figures, median, percentile
from bench.site import Site, a_site

CLOCK = "from SIGKILL to a verified receipt for a batch sealed afterwards"
SCALE = 3
UNIT = "kills of each process"
LINES_PER_S = 200
CALM_S = 3.0
RECOVERY_S_MAX = 60
_LOOK_S = 0.005

# Who is killed: the daemon it runs under, and the word of its command line that names it.
VICTIMS: Final = {
    "sense": ("run", "sense"),
    "ship": ("run", "ship"),
    "issuer": ("collector", "issuer"),
    "gate": ("collector", "gate"),
    "work": ("collector", "work"),
    "web": ("collector", "web"),
}

_FAST_SEALING = """
[sense.sealing]
low_wait_ms_max = 100
low_wait_offline_ms_max = 100
"""


def measure(scale: int, calm_s: float = CALM_S) -> Figures:
    """Kill each process ``scale`` times, with about ``calm_s`` between two kills.

    Raises:
        BenchFailed: receipts did not flow again.
        DemoFailed: a daemon did not start.
    """
    taken: dict[str, list[float]] = {name: [] for name in VICTIMS}
    with a_site(_FAST_SEALING) as site:
        site.start_collector()
        site.enroll()
        site.start_agent("run")
        log = OutboxLog(site.header_log)
        site.wait("the first receipt", lambda: _has_receipts(log))
        order = random.Random(1)
        with _load(site):
            for _ in range(scale):
                for name in VICTIMS:
                    # At no particular moment of any timer.
                    time.sleep(calm_s + order.random())
                    taken[name].append(_kill(site, log, name))
    every = [seconds for times in taken.values() for seconds in times]
    return Figures(
        {
            "recovery_p99_seconds": percentile(every, 0.99),
            "recovery_median_seconds": median(every),
            **{f"{name}_worst_seconds": max(times) for name, times in taken.items()},
            "kills": len(every),
        }
    )


def _kill(site: Site, log: OutboxLog, name: str) -> float:
    """Kill a process and return the seconds until receipts flow again."""
    daemon, role = VICTIMS[name]
    pid = site.pid(daemon, role)
    if not pid:
        raise BenchFailed(f"{name} does not run")
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    log.catch_up()
    head = log.head
    while not log.has_receipt_beyond(head):
        if time.perf_counter() - began > RECOVERY_S_MAX:
            raise BenchFailed(f"no receipt {RECOVERY_S_MAX} s after {name} was killed")
        time.sleep(_LOOK_S)
        log.catch_up()
    return time.perf_counter() - began


def _has_receipts(log: OutboxLog) -> bool:
    log.catch_up()
    return bool(log.receipted)


@contextmanager
def _load(site: Site) -> Iterator[None]:
    """Let logins fail all the time."""
    over = threading.Event()

    def write() -> None:
        with site.stage.auth_log.open("a", buffering=1) as file:
            number = 0
            while not over.wait(0.05):
                stamp = datetime.now(UTC).isoformat(timespec="microseconds")
                for _ in range(LINES_PER_S // 20):
                    number += 1
                    file.write(
                        f"{stamp} bench sshd[{1000 + number % 30_000}]: Failed password for "
                        f"root from 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255} "
                        "port 40000 ssh2\n"
                    )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()
