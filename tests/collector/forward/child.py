"""A forwarder in a process of its own, to be killed: `python child.py DIRECTORY URL BATCHES`."""

import asyncio
import random
import sys
from pathlib import Path

from collector.forward.delivery import Tools
from collector.forward.forwarder import Forwarder
from collector.forward.settings import BatchLimits, Patience
from runtime.clock import SystemClock
from tests.collector.builders import TENANT
from tests.collector.forward.builders import POOL, a_hec, some_batches
from tests.collector.forward.test_forwarder import Tenants
from tests.fakes.source import MemorySource


def main() -> None:
    path, url, batches = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    tenants = Tenants(path, TENANT)
    tenants.sources[TENANT] = MemorySource(some_batches(batches, findings=20))
    destination = a_hec(
        path,
        url=url,
        batch=BatchLimits(events_max=25, wait_s_max=0),
        patience=Patience(retry_wait_s_first=0.01, retry_wait_s_max=0.1),
    )
    forwarder = Forwarder(tenants, [destination], Tools(SystemClock(), random.random, POOL))
    asyncio.run(forwarder.run())


if __name__ == "__main__":
    main()
