"""The scheduled job: read every feed, compile, publish what changed, keep signatures fresh."""

from typing import Any, Final

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

    Signatures are kept fresh whatever becomes of the feeds, and a release that is refused leaves
    the published one in place.

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
    refreshed = publisher.refresh()
    old = publisher.current() or _NONE
    feeds, warninglists = read_feeds(settings), read_warninglists(settings)
    now = clock.wall_ns()
    if old.source == source_digest(feeds, warninglists):
        results = tuple(
            FeedResult(name=feed.settings.name, error=feed.error, files=len(feed.files))
            for feed in feeds
        )
        return _report(old, now, outcome=Outcome.UNCHANGED, feeds=results, refreshed=refreshed)
    try:
        compiled = compile_content(feeds, warninglists, max(old.version + 1, now // NS_PER_S), now)
    except ContentTooLarge as error:
        return _report(old, now, outcome=Outcome.REFUSED, reason=str(error), refreshed=refreshed)
    try:
        release, outcome, reason = (
            publisher.stage(compiled.data, force=force),
            Outcome.PUBLISHED,
            "",
        )
    except ContentRefused as error:
        release, outcome, reason = old, Outcome.REFUSED, str(error)
    return _report(
        release,
        now,
        outcome=outcome,
        reason=reason,
        refreshed=refreshed,
        feeds=compiled.feeds,
        warninglists=compiled.warninglists,
    )


def _report(release: Release, now: int, **rest: Any) -> FeedReport:  # noqa: ANN401  (its fields)
    return FeedReport(
        version=release.version,
        built_at=now,
        indicators=release.indicators,
        size=release.size,
        **rest,
    )
