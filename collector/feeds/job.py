"""The scheduled job: read every feed, compile, publish what changed, keep signatures fresh."""

from typing import Any, Final

from msgspec import Struct

from collector.feeds.compile import compile_content, source_digest
from collector.feeds.metadata import NS_PER_S
from collector.feeds.publish import Publisher, Release
from collector.feeds.report import FeedReport, FeedResult, Outcome
from collector.feeds.settings import FeedsSettings
from collector.feeds.sources import read_feeds, read_warninglists
from proto.content.errors import ContentRefused, ContentTooLarge
from runtime.clock import Clock

_NONE: Final = Release(version=0, indicators=0, size=0, source=b"")


def run_once(settings: FeedsSettings, clock: Clock, *, force: bool = False) -> FeedReport:
    """Do all there is to do now and say what became of it.

    Signatures are kept fresh whatever becomes of the feeds, also where there are none, and a
    release that is refused leaves the published one in place.

    Args:
        settings: feeds, lists and where the repository lies.
        clock: stamps the release.
        force: publish a release that lists less than half of the one before.

    Raises:
        NotInitialised: there is no repository.
        RepositoryDamaged: its files are not what our keys signed.
        OfflineKeyNeeded: root or targets have expired.
        WarningListUnusable: a warninglist cannot be read.
        KeyUnusable: an online key is no good.
        AlreadyRunning: another process works on the repository.
        OSError: a file cannot be read or made durable.
    """
    publisher = Publisher(settings, clock)
    told = _Told(publisher, clock.wall_ns(), publisher.refresh())
    old = publisher.current() or _NONE
    if not settings.sources:
        return told.report(old, Outcome.UNCHANGED)
    feeds, warninglists = read_feeds(settings), read_warninglists(settings)
    if old.source == source_digest(feeds, warninglists):
        results = tuple(
            FeedResult(name=feed.settings.name, error=feed.error, files=len(feed.files))
            for feed in feeds
        )
        return told.report(old, Outcome.UNCHANGED, feeds=results)
    version = max(old.version + 1, told.now // NS_PER_S)
    try:
        compiled = compile_content(feeds, warninglists, version, told.now)
    except ContentTooLarge as error:
        return told.report(old, Outcome.REFUSED, reason=str(error))
    seen = {"feeds": compiled.feeds, "warninglists": compiled.warninglists}
    try:
        release = publisher.stage(compiled.data, force=force)
    except ContentRefused as error:
        return told.report(old, Outcome.REFUSED, reason=str(error), **seen)
    return told.report(release, Outcome.PUBLISHED, **seen)


class _Told(Struct, frozen=True):
    """What every report of a run says alike."""

    publisher: Publisher
    now: int
    refreshed: tuple[str, ...]

    def report(self, release: Release, outcome: Outcome, **rest: Any) -> FeedReport:  # noqa: ANN401
        return FeedReport(
            outcome=outcome,
            version=release.version,
            built_at=self.now,
            indicators=release.indicators,
            size=release.size,
            offline_days_left=self.publisher.offline_days_left(),
            refreshed=self.refreshed,
            **rest,
        )
