"""The worker process: everything below the verified mark, for all tenants.

A thread takes turns at the tenants' ledgers; forwarding and the schedule run on the event loop. A
tenant whose disk fails waits and is tried again; the others go on.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from certs.identity import TenantId
from certs.keyring import load_signing_key
from collector import __version__
from collector.comply.projection import ComplyProjection
from collector.correlate.projection import CorrelateProjection
from collector.errors import LedgerCorrupt, LedgerError
from collector.forward.delivery import Tools as ForwardTools
from collector.forward.forwarder import Forwarder
from collector.index.projection import IndexProjection
from collector.ledger.derived import OwnFacts, Sealer
from collector.ledger.files import TenantFiles
from collector.ledger.sqlite import SqliteLedger
from collector.ports import LiveProjection, Projection
from collector.reload import Reloader
from collector.schedule import Schedule
from collector.settings import CollectorSettings
from collector.tenantwork import AdmittedSources, TenantWork, Tools, WorkSettings, set_aside
from runtime.clock import NS_PER_S, Clock, boot_id
from runtime.logs import logger
from runtime.supervise import spawn

IDLE_WAIT_S = 0.1
TICK_S = 1.0
LOOK_S = 2.0
FORWARD_THREADS = 4

log = logger(__name__)


class Worker:
    """Takes turns at every tenant, on one thread.

    Args:
        tools: shared by all tenants.
        projections: makes a new set for a tenant.
        moved: told of a tenant whose mark has moved.
    """

    def __init__(
        self,
        tools: Tools,
        projections: Callable[[], Sequence[Projection | LiveProjection]],
        moved: Callable[[TenantId], None],
    ) -> None:
        self._tools = tools
        self._projections = projections
        self._moved = moved
        self._tenants: dict[TenantId, TenantWork] = {}
        self._waiting: dict[TenantId, str] = {}
        self._ticked = 0
        self._looked = 0

    def turn(self) -> bool:
        """Take a turn at every tenant; return whether anything moved."""
        self._look()
        now = self._tools.clock.monotonic_ns()
        is_tick = now - self._ticked >= TICK_S * NS_PER_S
        if is_tick:
            self._ticked = now
        moved = [self._one(work, is_tick=is_tick) for work in tuple(self._tenants.values())]
        return any(moved)

    def close(self) -> None:
        """Let go of all files."""
        for work in self._tenants.values():
            work.close()
        self._tenants.clear()

    def _one(self, work: TenantWork, *, is_tick: bool) -> bool:
        before = work.mark
        try:
            moved = work.turn()
            if is_tick:
                work.tick()
        except LedgerError as error:
            # Nothing has moved: this tenant is opened anew and tried again.
            del self._tenants[work.tenant]
            work.close()
            self._wait(work.tenant, error)
            return False
        if self._waiting.pop(work.tenant, None) is not None:
            log.info("tenant goes on", tenant=str(work.tenant))
        if work.mark != before:
            self._moved(work.tenant)
        return moved > 0

    def _look(self) -> None:
        """Take up tenants that are new, or whose files failed a while ago."""
        now = self._tools.clock.monotonic_ns()
        if self._looked and now - self._looked < LOOK_S * NS_PER_S:
            return
        self._looked = now
        for tenant in self._tools.files.tenants():
            if tenant in self._tenants:
                continue
            try:
                self._tenants[tenant] = TenantWork(tenant, self._tools, self._projections())
            except LedgerError as error:
                self._wait(tenant, error)

    def _wait(self, tenant: TenantId, error: LedgerError) -> None:
        """Say once why a tenant waits; it is tried again at every look."""
        if isinstance(error, LedgerCorrupt) and self._set_aside(tenant, error.path):
            return
        reason = str(error)
        if self._waiting.get(tenant) != reason:
            self._waiting[tenant] = reason
            log.warning("tenant waits", tenant=str(tenant), reason=reason)

    def _set_aside(self, tenant: TenantId, path: Path | None) -> bool:
        """Put a damaged projection out of the way; the next look builds it anew."""
        names = [projection.name for projection in self._projections()]
        own = [self._tools.files.projection(tenant, name) for name in names]
        if path is None or path not in own:
            return False
        try:
            kept = set_aside(path)
        except LedgerError:
            return False
        log.error("damaged projection is built anew", tenant=str(tenant), kept=kept)
        return True


def projections(settings: CollectorSettings) -> Sequence[Projection | LiveProjection]:
    """Return the projections of one tenant."""
    return (IndexProjection(), CorrelateProjection(), ComplyProjection(settings=settings.comply))


def tools_of(settings: CollectorSettings, clock: Clock) -> Tools:
    """Return what the work of all tenants shares.

    Raises:
        KeyUnusable: a key is missing: the collector was not set up.
    """
    files = TenantFiles(settings.paths.root)
    ledger = SqliteLedger(files, clock, os.urandom)
    own = load_signing_key(settings.paths.own_key)
    facts = OwnFacts(host_name=socket.gethostname(), version=__version__, boot_id=boot_id())
    return Tools(
        domain=settings.trust.domain,
        files=files,
        sources=AdmittedSources(files),
        ledger=ledger,
        sealer=Sealer(own, ledger, facts, clock, os.urandom),
        own_key=own,
        log_key=load_signing_key(settings.paths.log_key),
        clock=clock,
        settings=WorkSettings(settings.admit, settings.watch),
    )


async def run(
    settings: CollectorSettings,
    clock: Clock,
    stop: asyncio.Event,
    ready: Callable[[], None],
    path: Path | None = None,
) -> None:
    """Work until told to stop.

    Args:
        settings: at the start.
        clock: the source of time.
        stop: set from outside to end.
        ready: called once when work has begun.
        path: the settings' file, to follow its changes; None to keep what was given.

    Raises:
        KeyUnusable: a key is missing: the collector was not set up.
    """
    loop = asyncio.get_running_loop()
    tools = tools_of(settings, clock)
    pool = ThreadPoolExecutor(FORWARD_THREADS, thread_name_prefix="forward")
    forwarder = Forwarder(
        tools.sources,
        settings.forward,
        ForwardTools(clock=clock, random=secrets.SystemRandom().random, pool=pool),
    )

    def moved(tenant: TenantId) -> None:
        loop.call_soon_threadsafe(forwarder.wake, tenant)

    worker = Worker(tools, lambda: projections(settings), moved)
    schedule = Schedule(settings, tools.files, clock)
    schedule.start()

    def changed(found: CollectorSettings) -> None:
        forwarder.configure(found.forward)
        schedule.configure(found)

    turns = ThreadPoolExecutor(1, thread_name_prefix="work")
    try:
        async with asyncio.TaskGroup() as group:
            working = spawn(group, _keep_working(worker, turns), "work")
            tasks = [working, spawn(group, forwarder.run(), "forward")]
            if path is not None:
                tasks.append(spawn(group, Reloader(path, settings, changed).run(), "settings"))
            ready()
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        schedule.stop()
        turns.shutdown()
        worker.close()
        tools.ledger.close()
        pool.shutdown(cancel_futures=True)


async def _keep_working(worker: Worker, thread: ThreadPoolExecutor) -> None:
    loop = asyncio.get_running_loop()
    while True:
        if not await loop.run_in_executor(thread, worker.turn):
            await asyncio.sleep(IDLE_WAIT_S)
