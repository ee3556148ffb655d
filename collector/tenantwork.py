"""One tenant's turn of the worker: admit, project, seal what was derived, sign a checkpoint.

Everything below the verified mark of one tenant happens here, on one thread, in ledger order; what
one tenant has to do never stands in another's files.
"""

from collections.abc import Sequence

from msgspec import Struct

from certs.identity import TenantId
from certs.signatures import SigningKey
from collector.errors import LedgerError
from collector.forward.event import Checkpoint
from collector.ledger.admitted import AdmittedCache, AdmittedReader
from collector.ledger.admitter import AdmitSettings, Admitter, Rooms
from collector.ledger.derived import Sealer
from collector.ledger.files import TenantFiles
from collector.ledger.log import LogReader, TenantLog
from collector.ledger.reader import LedgerReader
from collector.ledger.sqlite import SqliteLedger
from collector.ledger.watch import Watch, WatchSettings
from collector.ports import AdmittedBatch, LiveProjection, Projection
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
    """

    domain: str
    files: TenantFiles
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
        files = tools.files
        cache = AdmittedCache()
        reader = LedgerReader(files.ledger(tenant))
        origin = tlog.log_origin(tools.domain, tenant, reader.generation())
        self._log = TenantLog(files.log(tenant), origin, tools.log_key)
        rooms = Rooms(ledger=reader, flags=tools.ledger, log=self._log, cache=cache)
        self._reader = reader
        self._admitter = Admitter(tenant, rooms, tools.own_key, tools.clock, tools.settings.admit)
        self._watch = Watch(tenant, rooms, tools.clock, tools.settings.watch)
        self._admitted = AdmittedReader(
            tenant, LedgerReader(files.ledger(tenant)), LogReader(files.log(tenant)), cache
        )
        self.runners = [
            ProjectionRunner(
                projection,
                Place(
                    tenant=tenant,
                    path=files.projection(tenant, projection.name),
                    source=self._admitted,
                    mark=tools.ledger.mark,
                ),
                tools.clock,
            )
            for projection in projections
        ]

    def turn(self) -> int:
        """Do what there is to do now; return how many batches moved, 0 when all is done.

        Raises:
            LedgerError: a file cannot be used now; nothing is lost, the next turn tries again.
        """
        moved = self._admitter.step()
        for runner in self.runners:
            moved += runner.step()
        for source in (self._log, *self.runners):
            moved += self._tools.sealer.seal_pending(self.tenant, source)
        return moved

    def tick(self) -> None:
        """Look at the clock: live projections, holes that have stood too long, a checkpoint due.

        Raises:
            LedgerError: as `turn`.
        """
        self._watch.look()
        for runner in self.runners:
            runner.tick()
        self._admitter.sign()

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
        for runner in self.runners:
            runner.close()
        self._log.close()
        self._reader.close()


class AdmittedSource:
    """A tenant's ledger below the mark, as forwarding reads it (`collector.forward.ports.Source`).

    Args:
        tenant: whose.
        files: where its files lie.
    """

    def __init__(self, tenant: TenantId, files: TenantFiles) -> None:
        self._log = LogReader(files.log(tenant))
        self._reader = AdmittedReader(tenant, LedgerReader(files.ledger(tenant)), self._log)

    def read(self, after_position: int, batches_max: int) -> Sequence[AdmittedBatch]:
        """Return the next batches in ledger order.

        Raises:
            LedgerError: the ledger cannot be read now.
        """
        return self._reader.read(after_position, batches_max)

    def mark(self) -> int:
        """Return the verified mark.

        Raises:
            LedgerError: the ledger cannot be read now.
        """
        return self._log.mark()

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest signed head of the tenant's log, or None before the first.

        Raises:
            LedgerError: the ledger cannot be read now.
        """
        note = self._log.checkpoint()
        if not note:
            return None
        found = tlog.parse_checkpoint(tlog.parse_note(note).text)
        return Checkpoint(
            origin=found.origin, size=found.head.size, root=found.head.root, note=note.decode()
        )


def opened(
    tenant: TenantId, tools: Tools, projections: Sequence[Projection | LiveProjection]
) -> TenantWork | None:
    """Return the work of a tenant, or None while its files cannot be opened."""
    try:
        return TenantWork(tenant, tools, projections)
    except LedgerError as error:
        log.warning("tenant not opened", tenant=str(tenant), reason=str(error))
        return None
