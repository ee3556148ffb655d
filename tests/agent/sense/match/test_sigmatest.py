import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.match.sigmatest import checker_of, part_of, wildcard
from proto.content.errors import ContentDamaged
from proto.content.rules import Operator, Predicate, TimePart, Value
from proto.content.rulestext import Wild, joined, parts_of


def holds(op: Operator, text: str, *values: Value, cased: bool = False) -> bool:
    return checker_of(Predicate("Field", op, values, cased))(text)


@pytest.mark.parametrize(
    ("op", "values", "texts", "others"),
    [
        (Operator.EQUALS, ("A", "b"), ["a", "b"], ["", "ab"]),
        (Operator.CONTAINS, ("A", "b"), ["xa", "bx"], ["", "x"]),
        (Operator.CONTAINS, ("",), ["", "x"], []),
        (Operator.STARTSWITH, ("A", "bc"), ["ax", "bcd"], ["xa", "b"]),
        (Operator.ENDSWITH, ("/Sh",), ["/bin/sh"], ["/bin/sh "]),
        (Operator.WILDCARD, ("A*b?",), ["ab1", "axxbz"], ["ab", "xab1"]),
        (Operator.REGEX, ("(?i)a.c$", "x{2}"), ["zabc", "xx"], ["abcd", "x"]),
        (Operator.CIDR, ("10.0.0.0/8", "::1/128"), ["10.1.2.3", "::1"], ["11.0.0.1", "x", ""]),
        (Operator.CIDR, ("10.0.0.0/8",), ["::ffff:10.0.0.1"], ["::1"]),
        (Operator.LT, (5,), ["4", "-1", "4.9"], ["5", "x", "", "nan"]),
        (Operator.LTE, (5,), ["5"], ["6"]),
        (Operator.GT, (5,), ["6"], ["5"]),
        (Operator.GTE, (5,), ["5"], ["4"]),
        (Operator.NEQ, (5,), ["4"], ["5", "5.0", "x"]),
    ],
)
def test_an_operator_compares_with_any_of_its_values(
    op: Operator, values: tuple[Value, ...], texts: list[str], others: list[str]
) -> None:
    assert [holds(op, text, *values) for text in texts] == [True] * len(texts)
    assert [holds(op, text, *values) for text in others] == [False] * len(others)


def test_case_matters_where_it_is_said() -> None:
    assert holds(Operator.EQUALS, "Root", "Root", cased=True)
    assert not holds(Operator.EQUALS, "root", "Root", cased=True)


@given(
    st.lists(
        st.one_of(st.text("ab*?\\", min_size=1, max_size=3), st.sampled_from(Wild)), max_size=6
    ),
    st.text("ab*?\\", max_size=10),
)
def test_a_wildcard_is_what_a_regular_expression_says_it_is(
    parts: list[str | Wild], text: str
) -> None:
    pattern = joined(parts)
    expression = "".join(
        {Wild.MANY: ".*", Wild.ONE: "."}[part] if isinstance(part, Wild) else re.escape(part)
        for part in parts_of(pattern)
    )

    assert wildcard(pattern)(text) is (re.fullmatch(expression, text, re.DOTALL) is not None)


@pytest.mark.parametrize(
    ("text", "part", "value"),
    [
        ("2024-01-01T23:05:00Z", TimePart.HOUR, 23),
        ("2024-01-01 23:05:00.123", TimePart.MINUTE, 5),
        ("2024-01-01", TimePart.WEEK, 1),
        ("2024-12-31t00:00:00z", TimePart.DAY, 31),
        ("1704150300", TimePart.YEAR, 2024),
        ("1704150300000", TimePart.MONTH, 1),
        ("1704150300000000", TimePart.HOUR, 23),
        ("1704150300000000000", TimePart.HOUR, 23),
        ("yesterday", TimePart.HOUR, None),
        ("9" * 300, TimePart.HOUR, None),
        ("1e300", TimePart.HOUR, None),
        ("", TimePart.HOUR, None),
    ],
)
def test_a_part_of_a_time(text: str, part: TimePart, value: int | None) -> None:
    assert part_of(text, part) == value
    assert checker_of(Predicate("T", Operator.GTE, (value or 0,), part=part))(text) is (
        value is not None
    )


@given(st.text(max_size=30), st.sampled_from(TimePart))
def test_any_text_has_a_part_of_a_time_or_none(text: str, part: TimePart) -> None:
    assert part_of(text, part) is None or isinstance(part_of(text, part), int)


@pytest.mark.parametrize(
    ("op", "value"), [(Operator.REGEX, "("), (Operator.REGEX, "a{9999}"), (Operator.CIDR, "x")]
)
def test_what_is_no_expression_or_network_is_damaged_content(op: Operator, value: str) -> None:
    with pytest.raises(ContentDamaged):
        holds(op, "", value)
