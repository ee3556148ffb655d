"""Whether findings make an incident: pure, over event time, whatever order they arrive in."""

from collections.abc import Sequence

from msgspec import Struct

from collector.correlate.rules import CountRule
from proto.model import Argument, Attack, Incident, IncidentStatus, RecordRef, Rule
from proto.uids import incident_uid
from runtime.clock import NS_PER_S

SOURCES_MAX = 256
ATTACK_MAX = 64


class Signal(Struct, frozen=True, order=True):
    """A finding that a rule counts: when it happened, and where it lies."""

    event_time: int
    ref: RecordRef
    rule: str
    count: int = 1
    attack: tuple[str, str, str] | None = None


class Episode(Struct, frozen=True):
    """What one incident has said so far; ``number`` counts episodes of a rule and host."""

    number: int
    revision: int
    first: int
    last: int
    count: int
    rules: int
    is_open: bool = True


def fires(rule: CountRule, signals: Sequence[Signal], at: int) -> tuple[Signal, ...]:
    """Return the signals of the windows around ``at`` that satisfy the rule; empty for none.

    Args:
        rule: how many, of how many rules, within how long.
        signals: all that are known of one host around ``at``, in any order.
        at: event time of the newest arrival, which has to lie in the window.
    """
    window = rule.window_s * NS_PER_S
    ordered = sorted(signals)
    member: set[int] = set()
    start = 0
    for end, signal in enumerate(ordered):
        while signal.event_time - ordered[start].event_time > window:
            start += 1
        inside = ordered[start : end + 1]
        holds_newest = inside[0].event_time <= at <= signal.event_time
        is_enough = sum(item.count for item in inside) >= rule.count_min
        if holds_newest and is_enough and len({i.rule for i in inside}) >= rule.rules_min:
            member.update(range(start, end + 1))
    return tuple(ordered[index] for index in sorted(member))


def advance(episode: Episode, found: Sequence[Signal], rules: int) -> Episode | None:
    """Return the episode with a new revision, or None while it is not worth one.

    A revision is told when the count has doubled or another rule has joined: an incident that
    grows by thousands is told a dozen times.

    Args:
        episode: as it was last told.
        found: every signal of the episode now.
        rules: how many different rules they are of.
    """
    count = sum(signal.count for signal in found)
    if count < 2 * episode.count and rules <= episode.rules:
        return None
    return Episode(
        number=episode.number,
        revision=episode.revision + 1,
        first=min(signal.event_time for signal in found),
        last=max(signal.event_time for signal in found),
        count=count,
        rules=rules,
    )


def begin(number: int, found: Sequence[Signal], rules: int) -> Episode:
    """Return a new episode, not told yet."""
    return Episode(
        number=number,
        revision=1,
        first=min(signal.event_time for signal in found),
        last=max(signal.event_time for signal in found),
        count=sum(signal.count for signal in found),
        rules=rules,
    )


def incident(
    rule: CountRule, tenant: bytes, host: bytes, episode: Episode, found: Sequence[Signal]
) -> Incident:
    """Return the incident that an episode is, with the findings it is made of."""
    status = IncidentStatus.OPEN if episode.revision == 1 else IncidentStatus.UPDATED
    techniques = sorted({signal.attack for signal in found if signal.attack is not None})
    attack = [*rule.attack, *(Attack(*technique) for technique in techniques)]
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
        sources=tuple(signal.ref for signal in found[:SOURCES_MAX]),
        attack=tuple(dict.fromkeys(attack))[:ATTACK_MAX],
        sources_omitted=max(0, len(found) - SOURCES_MAX),
    )
