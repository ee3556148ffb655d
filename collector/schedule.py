"""What the worker does by the clock: threat intel in, old rows of the index out."""

import logging
import sqlite3
from collections.abc import Sequence

from apscheduler.job import Job
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from collector.feeds.job import run_once
from collector.index.retention import prune
from collector.ledger.files import TenantFiles
from collector.settings import CollectorSettings
from runtime.clock import NS_PER_S, Clock
from runtime.errors import VedetteError
from runtime.logs import logger

_AT_ONCE = "feeds-at-once"
_DAY_NS = 86_400 * NS_PER_S

log = logger(__name__)


class Schedule:
    """Runs the jobs, each on a thread of its own and never twice at once.

    Args:
        settings: how often, and of what.
        files: the tenants' files.
        clock: dates what the jobs make and decides what is old.
    """

    def __init__(self, settings: CollectorSettings, files: TenantFiles, clock: Clock) -> None:
        self._settings = settings
        self._files = files
        self._clock = clock
        # Its own lines tell of every run; ours tell of what became of it.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        # A run that a busy machine lets pass is made up for: the next may be a day away.
        self._scheduler = AsyncIOScheduler(
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )

    def start(self) -> None:
        """Begin, with the feeds at once. Needs the running event loop."""
        self.configure(self._settings)
        self._scheduler.add_job(self.refresh_feeds, id=_AT_ONCE)
        self._scheduler.start()

    def configure(self, settings: CollectorSettings) -> None:
        """Go on with other settings; other feeds are read at once."""
        if settings.feeds != self._settings.feeds:
            self._scheduler.add_job(self.refresh_feeds, id=_AT_ONCE, replace_existing=True)
        self._settings = settings
        jobs = (
            ("feeds", self.refresh_feeds, settings.feeds.interval_s),
            ("retention", self.retain, settings.retention.interval_s),
        )
        for name, job, seconds in jobs:
            self._scheduler.add_job(
                job,
                "interval",
                seconds=seconds,
                id=name,
                replace_existing=True,
            )

    def stop(self) -> None:
        """End; a run under way finishes by itself."""
        self._scheduler.shutdown(wait=False)

    def jobs(self) -> Sequence[Job]:
        """Return what is scheduled."""
        return tuple(self._scheduler.get_jobs())

    def refresh_feeds(self) -> None:
        """Read, compile and publish; without sources it keeps the signatures fresh."""
        try:
            report = run_once(self._settings.publishing, self._clock)
        except (VedetteError, OSError) as error:
            # What is published stays; agents stamp it as stale when its signature ages.
            log.warning("feeds not refreshed", reason=str(error))
            return
        log.info("feeds", outcome=report.outcome.value, indicators=report.indicators)

    def retain(self) -> None:
        """Remove old rows from the tenants' indexes; the ledger keeps everything."""
        days = self._settings.retention.index_days_max
        if not days:
            return
        before = self._clock.wall_ns() - days * _DAY_NS
        for tenant in self._files.tenants():
            path = self._files.projection(tenant, "index")
            try:
                removed = prune(path, before)
            except sqlite3.Error as error:
                log.warning("index not pruned", tenant=str(tenant), reason=str(error))
                continue
            if removed:
                log.info("index pruned", tenant=str(tenant), rows=removed, days=days)
