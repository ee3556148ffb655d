from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from collector.correlate import core
from collector.correlate.core import Signal, Sources, Span
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

    found = core.fires(RULE, signals, {newest.event_time})

    assert set(found) == brute_force(signals, newest.event_time)
    assert list(found) == sorted(found)


def test_different_rules_are_needed_where_the_rule_says_so() -> None:
    varied = CountRule(**{f: getattr(RULE, f) for f in RULE.__struct_fields__} | {"rules_min": 2})
    same = [a_signal(n, n) for n in range(3)]

    assert core.fires(varied, same, {2 * NS_PER_S}) == ()
    assert len(core.fires(varied, [*same, a_signal(2, 9, rule="b")], {2 * NS_PER_S})) == 4


def test_suppressed_repeats_count() -> None:
    assert core.fires(RULE, [a_signal(1, count=3)], {NS_PER_S})


@given(st.lists(st.integers(0, 60), min_size=1, max_size=14), st.integers(1, 5), st.randoms())
def test_a_batch_of_signals_fires_what_each_of_them_fires(
    seconds: list[int], count_new: int, random: object
) -> None:
    signals = [a_signal(second, index) for index, second in enumerate(seconds)]
    new = {signal.event_time for signal in signals[-count_new:]}
    random.shuffle(signals)  # type: ignore[attr-defined]

    found = core.fires(RULE, signals, new)

    assert set(found) == set().union(*(brute_force(signals, at) for at in new))
    assert [s for run in core.runs(RULE, found) for s in run] == list(found)
    for run in core.runs(RULE, found):
        gaps = [b.event_time - a.event_time for a, b in pairwise(run)]
        assert all(gap <= RULE.window_s * NS_PER_S for gap in gaps)


def a_span(count: int, *rules: str) -> Span:
    return Span(first=0, last=count * NS_PER_S, count=count, rules=frozenset(rules or ("a",)))


def test_an_incident_is_told_again_when_it_has_doubled_or_changed_its_nature() -> None:
    episode = core.begin(1, a_span(3))

    assert core.advance(episode, a_span(4)) is None
    doubled = core.advance(episode, a_span(6))
    wider = core.advance(episode, a_span(4, "a", "b"))

    assert doubled is not None
    assert (doubled.revision, doubled.count) == (2, 6)
    assert wider is not None


def test_a_host_that_makes_up_rules_is_told_of_so_many_times_at_most() -> None:
    episode = core.begin(1, a_span(100))
    revisions = 0
    names = ["a"]
    for n in range(3 * core.RULES_MAX):
        names.append(f"made-up-{n}")
        following = core.advance(episode, a_span(100, *names))
        if following is not None:
            episode, revisions = following, revisions + 1

    assert revisions == core.RULES_MAX - 1


def test_an_incident_names_its_rule_its_sources_and_what_it_left_out() -> None:
    episode = core.begin(1, a_span(300))
    refs = [a_signal(n, n).ref for n in range(300)]

    told = core.incident(RULE, HOST, HOST, episode, Sources(300, refs, [("18.1", "T1", "x")]))

    assert told.rule_digest == RULE.digest
    assert len(told.sources) == core.SOURCES_MAX
    assert told.sources_omitted == 300 - core.SOURCES_MAX
    assert told.status is IncidentStatus.OPEN
    assert [one.technique for one in told.attack] == ["T1"]
    assert told.uid == core.incident(RULE, HOST, HOST, episode, Sources(3, refs[:3], ())).uid
