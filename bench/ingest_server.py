"""The gateway as a process of its own, for the measurement of ingest: the real one, but its issuer.

Started as ``python -m bench.ingest_server FOLDER``; answers ``cpu`` and ``stop`` on standard input
with one JSON object a line.
"""

import asyncio
import json
import os
import random
import resource
import sys
from pathlib import Path
from typing import TypeVar

import msgspec

from bench.ingest_world import DOMAIN, TENANT, Given
from bench.report import BenchFailed
from certs.channel import TlsIdentity
from certs.p256 import P256Key
from certs.signatures import SigningKey
from collector.gateway.policy import Listener
from collector.gateway.server import Addresses, Gateway, Parts
from collector.gateway.settings import GatewaySettings, StreamSettings
from collector.issuer.messages import Changes, Reply, Request, Tenant, Watch
from collector.ledger.commit import CommitSettings
from collector.ledger.files import TenantFiles
from collector.ledger.sqlite import SqliteLedger
from runtime.clock import SystemClock

R = TypeVar("R", bound=Reply)

_UNLIMITED = 1 << 40
# An agent's share is not what is measured.
LIMITS = StreamSettings(
    agent_bytes_per_s_max=_UNLIMITED,
    agent_bytes_burst_max=_UNLIMITED,
    agent_batches_per_s_max=_UNLIMITED,
    agent_batches_burst_max=_UNLIMITED,
)


class KnownAgents:
    """An issuer that knows who there is, and of nothing that ever changes."""

    def __init__(self, given: Given) -> None:
        tenant = Tenant(
            tenant=TENANT,
            name="bench",
            created_ns=1,
            authorities_pem=(given.authority_pem,),
            authority_not_after_ns=1 << 62,
            trust_sha256=b"",
            revision=1,
        )
        self._all = Changes(revision=1, agents=given.agents, tenants=(tenant,), more=False)

    async def call(self, request: Request, expected: type[R], deadline_s: float = 15.0) -> R:
        """Answer what a gateway asks of its own accord."""
        reply = self._all
        if isinstance(request, Watch) and request.after:
            await asyncio.sleep(min(request.wait_s, deadline_s))
            reply = Changes(revision=1, agents=(), tenants=(), more=False)
        if not isinstance(reply, expected):
            raise BenchFailed(f"the gateway asked for {expected.__name__}")
        return reply


async def serve(folder: Path) -> None:
    """Serve until told to stop."""
    given = msgspec.msgpack.decode((folder / "given").read_bytes(), type=Given)
    files = TenantFiles(folder)
    ledger = SqliteLedger(files, SystemClock(), os.urandom)
    parts = Parts(
        domain=DOMAIN,
        root_pem=given.root_pem,
        issuer=KnownAgents(given),
        receipt_key=SigningKey.generate(),
        ledger=ledger,
        files=files,
        content_of=lambda _: folder / "content",
        clock=SystemClock(),
        random=random.random,
    )
    gateway = Gateway(
        parts,
        Addresses("127.0.0.1:0", "127.0.0.1:0"),
        GatewaySettings(stream=LIMITS),
        CommitSettings(),
    )
    stop = asyncio.Event()
    tls = TlsIdentity(given.chain_pem, P256Key.from_pem(given.key_pem))
    async with asyncio.TaskGroup() as group:
        ready = asyncio.Event()
        group.create_task(gateway.serve(tls, stop, ready.set))
        await ready.wait()
        say(port=gateway.ports[Listener.INTAKE])
        while (await asyncio.to_thread(sys.stdin.readline)).strip() == "cpu":
            used = resource.getrusage(resource.RUSAGE_SELF)
            say(cpu_s=used.ru_utime + used.ru_stime)
        stop.set()
    ledger.close()
    say(ledger_bytes=files.ledger(TENANT).stat().st_size)


def say(**what: float) -> None:
    """Answer on one line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
