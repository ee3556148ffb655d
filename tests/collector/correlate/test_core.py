from hypothesis import given
from hypothesis import strategies as st

from collector.correlate import core
from collector.correlate.core import Signal
from collector.correlate.rules import CountRule
from proto.model import FindingKind, IncidentStatus, RecordRef, Severity
from runtime.clock import NS_PER_S

RULE = CountRule(
    id="r",
    title="t",
    severity=Severity.HIGH,
    kinds=(FindingKind.DETECTION,),
    count_min=3,
    window_s=10,
)
HOST = b"h" * 16


def a_signal(second: int, index: int = 0, rule: str = "a", count: int = 1) -> Signal:
    ref = RecordRef(agent=HOST, epoch=HOST, seq=second + 1, index=index)
    return Signal(second * NS_PER_S, ref, rule, count)


def brute_force(signals: list[Signal], at: int) -> set[Signal]:
    """Every window that begins at a signal, by definition."""
    window = RULE.window_s * NS_PER_S
    found: set[Signal] = set()
    for first in signals:
        inside = [s for s in signals if 0 <= s.event_time - first.event_time <= window]
        for last in inside:
            part = [s for s in inside if s.event_time <= last.event_time]
            if first.event_time <= at <= last.event_time and len(part) >= RULE.count_min:
                found |= set(part)
    return found


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.randoms())
def test_the_rule_fires_exactly_where_the_definition_says(
    seconds: list[int], random: object
) -> None:
    signals = [a_signal(second, index) for index, second in enumerate(seconds)]
    newest = signals[-1]
    random.shuffle(signals)  # type: ignore[attr-defined]

    found = core.fires(RULE, signals, newest.event_time)

    assert set(found) == brute_force(signals, newest.event_time)
    assert list(found) == sorted(found)


def test_different_rules_are_needed_where_the_rule_says_so() -> None:
    varied = CountRule(**{f: getattr(RULE, f) for f in RULE.__struct_fields__} | {"rules_min": 2})
    same = [a_signal(n, n) for n in range(3)]

    assert core.fires(varied, same, 2 * NS_PER_S) == ()
    assert len(core.fires(varied, [*same, a_signal(2, 9, rule="b")], 2 * NS_PER_S)) == 4


def test_suppressed_repeats_count() -> None:
    assert core.fires(RULE, [a_signal(1, count=3)], NS_PER_S)


def test_an_incident_is_told_again_when_it_has_doubled_or_changed_its_nature() -> None:
    found = [a_signal(n, n) for n in range(3)]
    episode = core.begin(1, found, 1)

    assert core.advance(episode, [*found, a_signal(4, 7)], 1) is None
    doubled = core.advance(episode, [a_signal(n, n) for n in range(6)], 1)
    wider = core.advance(episode, [*found, a_signal(4, 7, rule="b")], 2)

    assert doubled is not None
    assert (doubled.revision, doubled.count) == (2, 6)
    assert wider is not None


def test_an_incident_names_its_rule_its_sources_and_what_it_left_out() -> None:
    found = [a_signal(n, n) for n in range(300)]
    episode = core.begin(1, found, 1)

    told = core.incident(RULE, HOST, HOST, episode, found)

    assert told.rule_digest == RULE.digest
    assert len(told.sources) == core.SOURCES_MAX
    assert told.sources_omitted == 300 - core.SOURCES_MAX
    assert told.status is IncidentStatus.OPEN
    assert told.uid == core.incident(RULE, HOST, HOST, episode, found[:3]).uid
