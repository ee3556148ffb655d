import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.content.sigma import compile_rules
from collector.content.sigmayaml import SourceFile, source_files
from proto.content.rules import RuleSource, Technique
from proto.content.rulesfile import read, written
from proto.model import Severity
from tests.collector.content.rulesources import a_rule, compiled, own, published


def reasons(text: str) -> str:
    made = compiled(text)
    assert made.rules.rules == ()
    return "; ".join(one.reason for one in made.reports)


def test_the_rules_of_the_tree_compile() -> None:
    made = own()

    assert len(made.rules.rules) == 3
    assert made.filters == 1
    assert made.reports == ()
    assert read(written(made.rules)) == made.rules


def test_level_status_source_author_and_techniques_are_kept() -> None:
    shell = next(rule for rule in own().rules.rules if rule.title.startswith("Shell"))

    assert shell.severity is Severity.HIGH
    assert shell.status == "experimental"
    assert shell.author == "Vedette"
    assert shell.source == RuleSource("linux", "process_creation")
    assert shell.attack == (Technique("T1059.004", "execution"),)


def test_compiling_twice_gives_the_same_bytes() -> None:
    assert written(own().rules) == written(own().rules)


def test_a_rule_that_cannot_be_compiled_is_named_with_the_reason_and_the_rest_is_compiled() -> None:
    bad = a_rule("  sel:\n    Image|re: '(?<=a)b'")
    good = a_rule("  sel:\n    Image: b").replace("0001", "0002")

    made = compile_rules(
        [SourceFile("bad.yml", bad.encode()), SourceFile("good.yml", good.encode())], {}
    )

    assert [rule.id[-1] for rule in made.rules.rules] == ["2"]
    (report,) = made.reports
    assert (report.rule[-1], report.file, report.state) == ("1", "bad.yml", "refused")
    assert "invalid" in report.reason or "RE2" in report.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (a_rule("  sel:\n    Image|sideways: x"), "Unknown modifier"),
        (a_rule("  sel:\n    Image: x", "sel and missing"), "missing"),
        (a_rule("  sel:\n    Image: x", "sel | count() > 5"), "pipe"),
        (a_rule("  sel:\n    Image: x", "1 of other*"), "doesn't match"),
        (a_rule("  sel:\n    Image|expand: '%admins%'"), "%admins%"),
        (a_rule("  sel:\n    Image|cidr: nonsense"), "CIDR"),
        (a_rule("  sel:\n    Image: x", "sel and"), ""),
        ("title: x\nid: y", "log source"),
        ("title: x\ndetection: 5\nlogsource: 7", ""),
        ("title: c\ncorrelation: {type: event_count, rules: [a]}", ""),
        ("a: [", "not YAML"),
    ],
)
def test_every_refusal_says_why(text: str, reason: str) -> None:
    assert reason.lower() in reasons(text).lower()


def test_two_rules_of_one_id_are_one_rule_and_a_refusal() -> None:
    made = compiled(a_rule("  sel:\n    Image: a") + "---\n" + a_rule("  sel:\n    Image: b"))

    assert len(made.rules.rules) == 1
    assert made.reports[0].reason == "another rule has this id"


def test_rules_without_an_id_are_called_by_their_file_and_place() -> None:
    nameless = a_rule("  sel:\n    Image: a").replace("id:", "description:")

    made = compiled(f"{nameless}---\n{nameless}")

    assert [rule.id for rule in made.rules.rules] == ["file:rule.yml#1", "file:rule.yml#2"]


def test_tags_that_nobody_knows_are_told_and_left_out() -> None:
    made = compiled(a_rule("  sel:\n    Image: a", more="tags: [attack.t9999, attack.t1059]"))

    assert made.rules.rules[0].attack == (Technique("T1059"),)
    assert "t9999" in made.reports[0].reason
    assert made.reports[0].state == "compiled"


def test_a_filter_that_cannot_be_applied_refuses_the_rule_it_was_to_tune() -> None:
    tuned = a_rule("  sel:\n    Image: a")
    broken = (
        "title: f\nlogsource: {product: linux}\n"
        "filter: {rules: any, known: {User: x}, condition: not unknown}\n"
    )

    assert "unknown" in reasons(f"{tuned}---\n{broken}")


def test_an_id_that_is_no_uuid_is_kept_and_filters_may_name_it() -> None:
    rule = a_rule("  sel:\n    Image: a").replace("0f0e0d0c-0000-4000-8000-000000000001", "my-rule")
    tuned = (
        "title: f\nlogsource: {product: linux}\n"
        "filter: {rules: [my-rule], known: {User: x}, condition: not known}\n"
    )

    made = compiled(f"{rule}---\n{tuned}")

    assert made.reports == ()
    assert [one.id for one in made.rules.rules] == ["my-rule"]
    assert len(made.rules.predicates) == 2


@given(st.text(max_size=80))
def test_any_condition_compiles_or_is_refused(condition: str) -> None:
    text = a_rule("  sel:\n    Image: a", condition=repr(condition).replace("\\", ""))

    made = compiled(text)

    assert len(made.rules.rules) + len(made.reports) >= 1


@pytest.mark.slow
def test_every_published_rule_compiles() -> None:
    made = compile_rules(source_files(published()), {})

    assert made.reports == ()
    assert len(made.rules.rules) > 3000
    assert read(written(made.rules)) == made.rules


def test_every_published_linux_rule_compiles() -> None:
    made = compile_rules(source_files(published() / "linux"), {})

    assert made.reports == ()
    assert len(made.rules.rules) > 200
