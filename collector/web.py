"""The web process: health, metrics and the API, read from the other processes' files.

It holds no key and writes nothing but a probe file: a fault here costs a view, never evidence.
"""

import asyncio
import os
import socket
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from certs.errors import IdentityRefused
from certs.identity import AgentId, TenantId
from collector import __version__
from collector.comply import queries as comply
from collector.comply.report import headline_rows
from collector.console.access import ensure_token
from collector.console.app import Sources
from collector.console.errors import BadRequest
from collector.console.ports import Check, FindingQuery, PageQuery, Row, Sample
from collector.console.samples import (
    check_samples,
    forward_samples,
    index_samples,
    projection_samples,
)
from collector.console.server import listening
from collector.errors import LedgerError
from collector.forward.figures import figures
from collector.forward.store import ForwardReader
from collector.index import queries
from collector.index.queries import FindingFilter, open_index
from collector.issuer.messages import Begun, Challenge
from collector.issuer.syncclient import ask
from collector.ledger.files import TenantFiles
from collector.ledger.log import LogReader
from collector.ledger.reader import LedgerReader
from collector.projection import Lag
from collector.settings import CollectorSettings
from proto.model import Severity
from runtime.clock import NS_PER_S, Clock
from runtime.errors import Fault, VedetteError
from runtime.files import is_locked

PROBE_BYTES = 4096
PROBE_TIMEOUT_S = 2.0
PROJECTIONS = ("index", "correlate", "comply")


class NotReadable(VedetteError):
    """A view cannot be read now: it is being made, or its file has a problem."""

    retryable: ClassVar[bool] = True
    fault: ClassVar[Fault] = Fault.OURS


async def run(
    settings: CollectorSettings, clock: Clock, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Serve until told to stop.

    Raises:
        NotAllowed: the token's file holds none.
        OSError: the address cannot be listened on, or the token's file cannot be made.
    """
    checks = Checks(settings)
    views = Views(settings, clock, checks)
    sources = Sources(
        version=__version__,
        readiness=checks,
        metrics=views,
        queries=views,
        token=ensure_token(settings.paths.api_token, os.urandom),
    )
    async with listening(sources, settings.console):
        ready()
        await stop.wait()


class Checks:
    """Whether the collector can do its work (`collector.console.ports.Readiness`)."""

    def __init__(self, settings: CollectorSettings) -> None:
        self._settings = settings

    def checks(self) -> Sequence[Check]:
        """Try each part and return what holds."""
        return (self._issuer(), self._intake(), self._worker(), self._disk())

    def _issuer(self) -> Check:
        try:
            ask(self._settings.paths.issuer_socket, Challenge(), Begun, PROBE_TIMEOUT_S)
        except VedetteError:
            return Check("issuer", ok=False, detail="does not answer")
        return Check("issuer", ok=True)

    def _intake(self) -> Check:
        host, _, port = self._settings.gateway.intake_address.rpartition(":")
        target = "127.0.0.1" if host in {"0.0.0.0", "[::]", "::"} else host  # noqa: S104  (compared)
        try:
            with socket.create_connection((target.strip("[]"), int(port)), PROBE_TIMEOUT_S):
                return Check("intake", ok=True)
        except (OSError, ValueError):
            return Check("intake", ok=False, detail="does not listen")

    def _worker(self) -> Check:
        if is_locked(self._settings.paths.root / "work.lock"):
            return Check("worker", ok=True)
        return Check("worker", ok=False, detail="does not run")

    def _disk(self) -> Check:
        """Commit a few bytes where the ledgers lie, as they would be."""
        path = self._settings.paths.root / "web.probe"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, bytes(PROBE_BYTES))
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            return Check("disk", ok=False, detail=error.strerror or "cannot be written")
        return Check("disk", ok=True)


class Views:
    """Rows and numbers, read from the projections (`Queries` and `MetricsSource`)."""

    def __init__(self, settings: CollectorSettings, clock: Clock, checks: Checks) -> None:
        self._files = TenantFiles(settings.paths.root)
        self._clock = clock
        self._checks = checks

    # -- rows ------------------------------------------------------------------------------------

    def tenants(self) -> Sequence[TenantId]:
        """Return every tenant that has a ledger."""
        return self._files.tenants()

    def findings(self, tenant: TenantId, wanted: FindingQuery) -> Iterable[Row]:
        """Return findings, the newest first.

        Raises:
            NotReadable: the index cannot be read now.
            BadRequest: the agent's id is none.
        """
        chosen = FindingFilter(
            kind=wanted.kind,
            rule=wanted.rule,
            agent=None if wanted.agent is None else _agent(wanted.agent),
            severity_min=Severity(wanted.severity_min or "unspecified"),
            since=wanted.since,
            until=wanted.until,
            limit=wanted.limit,
        )
        return self._rows(tenant, "index", lambda db: queries.findings(db, chosen))

    def hosts(self, tenant: TenantId, wanted: PageQuery) -> Iterable[Row]:
        """Return hosts by name.

        Raises:
            NotReadable: the index cannot be read now.
        """
        return self._rows(tenant, "index", queries.hosts)[: wanted.limit]

    def incidents(self, tenant: TenantId, wanted: PageQuery) -> Iterable[Row]:
        """Return incidents at their newest revision, the latest first.

        Raises:
            NotReadable: the index cannot be read now.
        """
        return self._rows(tenant, "index", lambda db: queries.incidents(db, wanted.limit))

    def readiness(self, tenant: TenantId, wanted: PageQuery) -> Iterable[Row]:
        """Return the readiness for each framework.

        Raises:
            NotReadable: the scores cannot be read now.
        """
        now = self._clock.wall_ns()
        rows = self._rows(tenant, "comply", lambda db: headline_rows(comply.readings(db, now)))
        return rows[: wanted.limit]

    def _rows(
        self,
        tenant: TenantId,
        name: str,
        question: Callable[[sqlite3.Connection], Iterable[Row]],
    ) -> list[Row]:
        try:
            with closing(open_index(str(self._files.projection(tenant, name)))) as db:
                return list(question(db))
        except sqlite3.Error as error:
            raise NotReadable(f"{name} cannot be read now", hint="try again shortly") from error

    # -- numbers ---------------------------------------------------------------------------------

    def samples(self) -> Iterable[Sample]:
        """Return every number as it is now; what cannot be read is left out."""
        found = [Sample("build_info", 1, (__version__,))]
        found += check_samples(tuple(self._checks.checks()))
        tenants = self.tenants()
        found.append(Sample("tenants", len(tenants)))
        for tenant in tenants:
            try:
                found += self._of_tenant(tenant)
            except (LedgerError, sqlite3.Error):
                # This tenant's files are being made, or have a problem that its log tells of.
                continue
        return found

    def _of_tenant(self, tenant: TenantId) -> Iterator[Sample]:
        name = str(tenant)
        ledger = LedgerReader(self._files.ledger(tenant))
        log = LogReader(self._files.log(tenant))
        try:
            mark = log.mark()
            yield Sample("ledger_batches_total", ledger.last_position(), (name,))
            yield Sample("verified_batches_total", mark, (name,))
            yield Sample("refused_batches_total", log.refused(), (name,))
            yield Sample("log_entries", log.size(), (name,))
            for projection in PROJECTIONS:
                lag = self._lag(self._files.projection(tenant, projection), mark, ledger)
                yield from projection_samples(name, projection, lag)
            with closing(open_index(str(self._files.projection(tenant, "index")))) as db:
                yield from index_samples(name, queries.counts(db))
            yield from self._forwarding(tenant, mark)
        finally:
            ledger.close()
            log.close()

    def _lag(self, path: Path, mark: int, ledger: LedgerReader) -> Lag:
        with closing(open_index(str(path))) as db:
            position = db.execute("SELECT position FROM cursor").fetchone()[0]
            pending = db.execute("SELECT count(*) FROM pending").fetchone()[0]
            poisoned = db.execute("SELECT count(*) FROM poison").fetchone()[0]
        behind = max(0, mark - position)
        received = ledger.received_after(position) if behind else None
        seconds = (self._clock.wall_ns() - received) / NS_PER_S if received else 0.0
        return Lag(batches=behind, seconds=max(0.0, seconds), pending=pending, poisoned=poisoned)

    def _forwarding(self, tenant: TenantId, mark: int) -> Iterator[Sample]:
        path = self._files.projection(tenant, "forward")
        if not path.exists():
            return
        with ForwardReader(path) as reader:
            for status in reader.statuses():
                yield from forward_samples(
                    str(tenant), figures(status, mark, self._clock.wall_ns())
                )


def _agent(text: str) -> bytes:
    try:
        return AgentId.parse(text).bytes
    except IdentityRefused as error:
        raise BadRequest("agent is not an id", hint=error.hint) from error
