"""Whether findings make an incident: pure, over event time, whatever order they arrive in."""

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct

from collector.correlate.rules import CountRule
from proto.model import Argument, Attack, Incident, IncidentStatus, RecordRef, Rule
from proto.uids import incident_uid
from runtime.clock import NS_PER_S

SOURCES_MAX = 256
ATTACK_MAX = 64
RULES_MAX = 64


class Signal(Struct, frozen=True, order=True):
    """A finding that a rule counts: when it happened, and where it lies."""

    event_time: int
    ref: RecordRef
    rule: str
    count: int = 1


class Sources(Struct, frozen=True):
    """The findings of an episode: how many there are, the first of them, and all techniques."""

    total: int
    first: Sequence[RecordRef]
    techniques: Sequence[tuple[str, str, str]]


class Span(Struct, frozen=True):
    """What a stretch of a host's signals adds up to."""

    first: int
    last: int
    count: int
    rules: frozenset[str]


class Episode(Struct, frozen=True):
    """What one incident has said so far; ``number`` counts episodes of a rule and host.

    ``first`` and ``last`` are as far as it reaches now; ``count`` and ``rules`` are what was told.
    ``grown`` counts signals that joined since then.
    """

    number: int
    revision: int
    first: int
    last: int
    count: int
    rules: frozenset[str]
    grown: int = 0
    is_open: bool = True


def fires(rule: CountRule, signals: Sequence[Signal], new: Container[int]) -> tuple[Signal, ...]:
    """Return the signals of the windows around new ones that satisfy the rule; empty for none.

    Args:
        rule: how many, of how many rules, within how long.
        signals: all that are known of one host around the new ones, in any order.
        new: event times of the newest arrivals, one of which has to lie in the window.
    """
    window = rule.window_s * NS_PER_S
    ordered = sorted(signals)
    rules: Counter[str] = Counter()
    member: list[int] = []
    start = count = news = 0
    for end, signal in enumerate(ordered):
        count += signal.count
        rules[signal.rule] += 1
        news += signal.event_time in new
        while signal.event_time - ordered[start].event_time > window:
            gone = ordered[start]
            count -= gone.count
            rules -= Counter((gone.rule,))
            news -= gone.event_time in new
            start += 1
        if news and count >= rule.count_min and len(rules) >= rule.rules_min:
            begin_at = max(start, member[-1] + 1 if member else 0)
            member += range(begin_at, end + 1)
    return tuple(ordered[index] for index in member)


def runs(rule: CountRule, found: Sequence[Signal]) -> Iterator[Sequence[Signal]]:
    """Yield what belongs together: signals with no gap of more than a window between them."""
    start = 0
    for end in range(1, len(found) + 1):
        is_last = end == len(found)
        gap = 0 if is_last else found[end].event_time - found[end - 1].event_time
        if is_last or gap > rule.window_s * NS_PER_S:
            yield found[start:end]
            start = end


def is_worth_counting(episode: Episode, found: Sequence[Signal]) -> bool:
    """Return whether there may be a new revision to tell."""
    return episode.grown >= episode.count or _has_widened(episode, {s.rule for s in found})


def advance(episode: Episode, span: Span) -> Episode | None:
    """Return the episode with a new revision, or None while it is not worth one.

    A revision is told when the count has doubled or another rule has joined: an incident that
    grows by thousands is told a dozen times.

    Args:
        episode: as it was last told.
        span: all of it now.
    """
    if span.count < 2 * episode.count and not _has_widened(episode, span.rules):
        return None
    return Episode(
        number=episode.number,
        revision=episode.revision + 1,
        first=span.first,
        last=span.last,
        count=span.count,
        rules=span.rules,
    )


def begin(number: int, span: Span) -> Episode:
    """Return a new episode, not told yet."""
    return Episode(
        number=number,
        revision=1,
        first=span.first,
        last=span.last,
        count=span.count,
        rules=span.rules,
    )


def incident(
    rule: CountRule, tenant: bytes, host: bytes, episode: Episode, made_of: Sources
) -> Incident:
    """Return the incident that an episode is, with the findings it is made of."""
    status = IncidentStatus.OPEN if episode.revision == 1 else IncidentStatus.UPDATED
    attack = [*rule.attack, *(Attack(*technique) for technique in sorted(made_of.techniques))]
    return Incident(
        uid=incident_uid(tenant, rule.id, host.hex(), episode.number),
        revision=episode.revision,
        status=status if episode.is_open else IncidentStatus.CLOSED,
        severity=rule.severity,
        title=rule.title,
        rule=Rule(id=rule.id),
        rule_digest=rule.digest,
        key=(Argument("host", host.hex()),),
        first=episode.first,
        last=episode.last,
        count=episode.count,
        hosts=(host,),
        sources=tuple(made_of.first[:SOURCES_MAX]),
        attack=tuple(dict.fromkeys(attack))[:ATTACK_MAX],
        sources_omitted=max(0, made_of.total - SOURCES_MAX),
    )


def _has_widened(episode: Episode, rules: AbstractSet[str]) -> bool:
    # Names of rules come from hosts: one that makes them up is told of so many times at most.
    return len(episode.rules) < RULES_MAX and not rules <= episode.rules
