"""One tenant's turn of the worker: admit, project, seal what was derived, sign a checkpoint.

Everything below the verified mark of one tenant happens here, on one thread, in ledger order; what
one tenant has to do never stands in another's files.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from certs.identity import TenantId
from certs.signatures import SigningKey
from collector.forward.event import Checkpoint
from collector.forward.ports import TenantLedger
from collector.ledger.admitted import AdmittedCache, AdmittedReader
from collector.ledger.admitter import AdmitSettings, Admitter, Rooms
from collector.ledger.database import translated
from collector.ledger.derived import Sealer
from collector.ledger.files import TenantFiles
from collector.ledger.log import LogReader, TenantLog
from collector.ledger.pending import PendingSource
from collector.ledger.reader import LedgerReader
from collector.ledger.sqlite import SqliteLedger
from collector.ledger.watch import Watch, WatchSettings
from collector.ports import LiveProjection, Projection
from collector.projection import Lag, Place, ProjectionRunner
from proto import tlog
from runtime.clock import Clock
from runtime.logs import logger

log = logger(__name__)


class WorkSettings(Struct, frozen=True):
    """The settings of the parts."""

    admit: AdmitSettings = AdmitSettings()
    watch: WatchSettings = WatchSettings()


class Tools(Struct, frozen=True):
    """What the work of every tenant shares.

    Args:
        domain: the trust domain, part of every log's name.
        files: where the tenants' files lie.
        ledger: writes the collector's own batches.
        sealer: seals them.
        own_key: signs refusals.
        log_key: signs checkpoints.
        clock: the source of time.
        settings: of the parts.
        sources: shares what was opened with those who only read.
    """

    domain: str
    files: TenantFiles
    sources: "AdmittedSources"
    ledger: SqliteLedger
    sealer: Sealer
    own_key: SigningKey
    log_key: SigningKey
    clock: Clock
    settings: WorkSettings


class TenantWork:
    """The worker's rooms of one tenant; one thread at a time.

    Args:
        tenant: whose.
        tools: shared.
        projections: what to keep up to date.

    Raises:
        LedgerError: a file cannot be opened.
    """

    def __init__(
        self, tenant: TenantId, tools: Tools, projections: Sequence[Projection | LiveProjection]
    ) -> None:
        self.tenant = tenant
        self._tools = tools
        cache = tools.sources.cache(tenant)
        with ExitStack() as undo:
            self._reader = LedgerReader(tools.files.ledger(tenant))
            undo.callback(self._reader.close)
            origin = tlog.log_origin(tools.domain, tenant, self._reader.generation())
            self._log = TenantLog(tools.files.log(tenant), origin, tools.log_key)
            undo.callback(self._log.close)
            source = AdmittedReader(tenant, self._reader, self._log.reader, cache)
            self.runners = []
            for projection in projections:
                self.runners.append(_runner(projection, tenant, source, tools))
                undo.callback(self.runners[-1].close)
            rooms = Rooms(ledger=self._reader, flags=tools.ledger, log=self._log, cache=cache)
            self._admitter = Admitter(
                tenant, rooms, tools.own_key, tools.clock, tools.settings.admit
            )
            self._watch = Watch(tenant, rooms, tools.clock, tools.settings.watch)
            self._live_from = dict.fromkeys((one.name for one in self.runners), self._end())
            self._open = undo.pop_all()

    def turn(self) -> int:
        """Do what there is to do now; return how many batches moved, 0 when all is done.

        Raises:
            LedgerError: a file cannot be used now; nothing is lost, the next turn tries again.
        """
        moved = self._admitter.step()
        for runner in self.runners:
            self._rebuild_if_asked(runner)
            moved += runner.step()
        sources: tuple[PendingSource, ...] = (self._log, *self.runners)
        for source in sources:
            moved += self._tools.sealer.seal_pending(self.tenant, source)
        return moved

    def tick(self) -> None:
        """Look at the clock: live projections, holes that have stood too long, a checkpoint due.

        Raises:
            LedgerError: as `turn`.
        """
        self._watch.look()
        for runner in self.runners:
            # What a tick would tell may have been sealed in an earlier life: that is read first.
            if runner.cursor >= self._live_from[runner.name]:
                runner.tick()
        self._admitter.sign()

    def _rebuild_if_asked(self, runner: ProjectionRunner) -> None:
        """Look for the file that ``index rebuild`` leaves."""
        asked = self._tools.files.directory(self.tenant) / f"{runner.name}.rebuild"
        with translated(asked):
            if not asked.exists():
                return
            runner.rebuild()
            self._live_from[runner.name] = self._end()
            asked.unlink(missing_ok=True)
        log.info("projection is rebuilt", tenant=str(self.tenant), projection=runner.name)

    def _end(self) -> int:
        return self._reader.last_position()

    @property
    def mark(self) -> int:
        """The verified mark."""
        return self._admitter.mark

    def lags(self) -> dict[str, Lag]:
        """Return how far each projection is behind.

        Raises:
            LedgerError: it cannot be read now.
        """
        return {runner.name: runner.lag() for runner in self.runners}

    def close(self) -> None:
        """Let go of all files."""
        self._open.close()


def _runner(
    projection: Projection | LiveProjection, tenant: TenantId, source: AdmittedReader, tools: Tools
) -> ProjectionRunner:
    path = tools.files.projection(tenant, projection.name)
    place = Place(tenant=tenant, path=path, source=source, mark=tools.ledger.mark)
    return ProjectionRunner(projection, place, tools.clock)


class AdmittedSources:
    """Tenants' ledgers below the mark, for those who only read.

    The batches that the worker has just opened are shared with them, so that a batch is decoded
    once in this process.

    Args:
        files: where the tenants' files lie.
    """

    def __init__(self, files: TenantFiles) -> None:
        self._files = files
        self._caches: dict[TenantId, AdmittedCache] = {}

    def cache(self, tenant: TenantId) -> AdmittedCache:
        """Return what was opened last of a tenant."""
        return self._caches.setdefault(tenant, AdmittedCache())

    def tenants(self) -> Sequence[TenantId]:
        """Return every tenant whose batches have been admitted (`forwarder.Ledgers`)."""
        return [t for t in self._files.tenants() if self._files.log(t).exists()]

    def ledger(self, tenant: TenantId) -> TenantLedger:
        """Return what a tenant has to forward (`forwarder.Ledgers`).

        Raises:
            LedgerError: it cannot be opened now.
        """
        log_reader = LogReader(self._files.log(tenant))
        source = AdmittedReader(
            tenant, LedgerReader(self._files.ledger(tenant)), log_reader, self.cache(tenant)
        )

        def checkpoint() -> Checkpoint | None:
            found = log_reader.newest()
            return found and Checkpoint(size=found[0], at=found[1], note=found[2].decode())

        return TenantLedger(tenant=tenant, source=source, checkpoint=checkpoint)

    def forward_path(self, tenant: TenantId) -> Path:
        """Return the path of a tenant's forward.db (`forwarder.Ledgers`)."""
        return self._files.projection(tenant, "forward")


def set_aside(path: Path) -> Path:
    """Rename a projection's file, so that it is built anew and can still be looked at.

    What it derived and had not sealed is derived again; what was sealed stands in the ledger.

    Args:
        path: the file; nobody has it open.

    Returns:
        Where it is now; an earlier one is replaced.

    Raises:
        LedgerUnavailable: it cannot be renamed now.
    """
    aside = path.with_name(f"{path.name}.damaged")
    with translated(path):
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.replace(aside.with_name(aside.name + suffix))
    return aside
