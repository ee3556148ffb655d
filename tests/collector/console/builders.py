"""A console over sources in memory, reached over loopback."""

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp

from certs.identity import TenantId
from collector.console.app import Sources
from collector.console.ports import Check, FindingQuery, PageQuery, Row, Sample
from collector.console.server import listening
from collector.console.settings import ConsoleSettings
from runtime.errors import VedetteError
from runtime.logs import Redacted
from tests.collector.builders import TENANT

TOKEN = "a-token-of-at-least-thirty-two-characters"
LOGIN = {"Authorization": f"Bearer {TOKEN}"}


class Everything:
    """All that a console shows; a test changes it."""

    def __init__(self) -> None:
        self.is_ready = True
        self.failure: VedetteError | None = None
        self.delay_s = 0.0
        self.known = [TENANT]
        self.wanted: list[object] = []
        self.numbers: list[Sample] = [
            Sample("build_info", 1, ("0.1.0",)),
            Sample("ready", 1, ("ledger",)),
            Sample("forward_lag_batches", 3, (str(TENANT), "splunk")),
            Sample("forward_events_total", 12, (str(TENANT), "splunk", "accepted")),
        ]

    def checks(self) -> Sequence[Check]:
        self._work()
        return [Check("ledger", self.is_ready, "" if self.is_ready else "the disk is full")]

    def samples(self) -> Iterable[Sample]:
        self._work()
        return list(self.numbers)

    def tenants(self) -> Sequence[TenantId]:
        return self.known

    def findings(self, tenant: TenantId, wanted: FindingQuery) -> Iterable[Row]:
        return self._rows("finding", tenant, wanted)

    def hosts(self, tenant: TenantId, wanted: PageQuery) -> Iterable[Row]:
        return self._rows("host", tenant, wanted)

    def incidents(self, tenant: TenantId, wanted: PageQuery) -> Iterable[Row]:
        return self._rows("incident", tenant, wanted)

    def readiness(self, tenant: TenantId, wanted: PageQuery) -> Iterable[Row]:
        return self._rows("framework", tenant, wanted)

    def _rows(self, what: str, tenant: TenantId, wanted: object) -> Iterable[Row]:
        self._work()
        self.wanted.append(wanted)
        return [{"what": what, "tenant": str(tenant)}]

    def _work(self) -> None:
        time.sleep(self.delay_s)
        if self.failure is not None:
            raise self.failure


@asynccontextmanager
async def a_console(
    everything: Everything | None = None,
    *,
    token: Redacted | None = Redacted(TOKEN),  # noqa: B008 - a constant
    settings: Mapping[str, object] | None = None,
) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client whose paths begin at the console's root."""
    shown = everything or Everything()
    sources = Sources("0.1.0", shown, shown, shown, token)
    values = {"address": "127.0.0.1:0", **(settings or {})}
    async with (
        listening(sources, ConsoleSettings(**values)) as port,  # type: ignore[arg-type]
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client
