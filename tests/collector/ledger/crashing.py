"""A process that appends without end and says each batch on standard output after its commit.

Run as ``python -m tests.collector.ledger.crashing ROOT FIRST COUNT GROUP``: agent 0 goes on from
batch FIRST. What it has printed was acknowledged; whoever kills it looks for it in the ledger.
"""

import os
import sys
from pathlib import Path

from collector.errors import LedgerUnavailable
from collector.ledger.files import TenantFiles
from collector.ledger.sqlite import SqliteLedger
from runtime.clock import SystemClock
from tests.collector.sealing import TENANT, AnAgent


def main(root: str, first: int, count: int, group: int) -> None:
    ledger = SqliteLedger(TenantFiles(Path(root)), SystemClock(), os.urandom)
    agent = AnAgent()
    batches = [agent.seal([b"x" * 500]) for _ in range(first + count)][first:]
    while batches:
        now, batches = batches[:group], batches[group:]
        try:
            ledger.append(TENANT, now)
        except LedgerUnavailable:
            sys.stdout.write("".join(f"refused {one.header.seq}\n" for one in now))
            # What was refused comes again, as an agent sends it.
            ledger.append(TENANT, now)
        sys.stdout.write("".join(f"kept {one.header.seq}\n" for one in now))
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:5]))
