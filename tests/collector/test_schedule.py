import asyncio
import sqlite3
import time
from pathlib import Path

from msgspec import structs

from collector.feeds.publish import Publisher
from collector.index.projection import IndexProjection
from collector.ledger.files import TenantFiles
from collector.schedule import Schedule
from collector.settings import CollectorSettings, PathSettings, RetentionSettings, ScheduledFeeds
from runtime.clock import NS_PER_S
from tests.collector.builders import NOW, TENANT, an_admitted_batch
from tests.collector.forward.builders import eventually
from tests.collector.shell import Shell
from tests.fakes.clock import FakeClock
from tests.proto.builders import a_finding

DAY_NS = 86_400 * NS_PER_S


def a_collector(path: Path, days: int) -> tuple[CollectorSettings, TenantFiles, Path]:
    """A state with one tenant whose index holds one finding received at ``NOW``."""
    settings = CollectorSettings(
        paths=PathSettings(state=str(path)), retention=RetentionSettings(index_days_max=days)
    )
    files = TenantFiles(path)
    files.make(TENANT)
    files.ledger(TENANT).touch()
    index = files.projection(TENANT, "index")
    db = sqlite3.connect(index)
    db.executescript(IndexProjection().schema)
    IndexProjection().apply(db, an_admitted_batch(a_finding()))
    db.commit()
    db.close()
    return settings, files, index


def findings_in(index: Path) -> int:
    db = sqlite3.connect(index)
    (count,) = db.execute("SELECT count(*) FROM findings").fetchone()
    db.close()
    return int(count)


def a_clock(days_later: int) -> FakeClock:
    clock = FakeClock()
    clock.wall = NOW + days_later * DAY_NS
    return clock


def test_old_rows_leave_the_index_and_young_ones_stay(tmp_path: Path) -> None:
    settings, files, index = a_collector(tmp_path, days=10)

    Schedule(settings, files, a_clock(9)).retain()
    assert findings_in(index) == 1
    Schedule(settings, files, a_clock(11)).retain()

    assert findings_in(index) == 0


def test_nothing_leaves_where_rows_are_kept_for_ever(tmp_path: Path) -> None:
    settings, files, index = a_collector(tmp_path, days=0)

    Schedule(settings, files, a_clock(5000)).retain()

    assert findings_in(index) == 1


def test_an_index_that_cannot_be_pruned_does_not_stop_the_schedule(tmp_path: Path) -> None:
    settings, files, index = a_collector(tmp_path, days=10)
    index.write_bytes(b"not a database at all, but long enough to be read as one")

    Schedule(settings, files, a_clock(11)).retain()


def test_feeds_that_cannot_be_read_leave_what_is_published(tmp_path: Path) -> None:
    settings, files, _ = a_collector(tmp_path, days=10)

    Schedule(settings, files, a_clock(0)).refresh_feeds()


async def test_new_intervals_replace_the_old_jobs(tmp_path: Path) -> None:
    settings, files, _ = a_collector(tmp_path, days=10)
    schedule = Schedule(settings, files, a_clock(0))
    schedule.start()
    await asyncio.sleep(0)

    changed = structs.replace(
        settings, retention=RetentionSettings(interval_s=77, index_days_max=3)
    )
    schedule.configure(changed)

    jobs = {job.id: job for job in schedule.jobs()}
    assert jobs["retention"].trigger.interval.total_seconds() == 77
    assert {"feeds", "retention"} <= jobs.keys()
    schedule.stop()


async def test_feeds_are_read_at_the_start_however_busy_the_machine_is(tmp_path: Path) -> None:
    """What the scheduler calls a misfire would leave hosts without intel for an interval."""
    shell = Shell(tmp_path)
    shell.init()
    shell.configure('[[feeds.sources]]\nname = "a"\npath = "a.txt"\nkind = "ipv4"\n')
    (Path(shell.settings.publishing.lists) / "a.txt").write_text("192.0.2.1\n")
    schedule = Schedule(shell.settings, shell.files, shell.clock)

    schedule.start()
    time.sleep(1.5)  # noqa: ASYNC251  (the loop is kept from running)
    await eventually(lambda: Publisher(shell.settings.publishing, shell.clock).current(), 20)
    schedule.stop()


async def test_other_feeds_are_read_at_once_and_other_changes_read_none(tmp_path: Path) -> None:
    settings, files, _ = a_collector(tmp_path, days=10)
    schedule = Schedule(settings, files, a_clock(0))
    schedule.start()
    await eventually(lambda: len(schedule.jobs()) == 2)

    schedule.configure(structs.replace(settings, retention=RetentionSettings(interval_s=77)))
    after_retention = {job.id for job in schedule.jobs()}
    schedule.configure(structs.replace(settings, feeds=ScheduledFeeds(interval_s=77)))
    after_feeds = {job.id for job in schedule.jobs()}
    schedule.stop()

    assert after_retention == {"feeds", "retention"}
    assert len(after_feeds) == 3
