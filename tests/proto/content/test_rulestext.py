import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content.rulestext import Wild, fold, joined, number_of, parts_of, text_of

PARTS = st.lists(st.one_of(st.text(min_size=1), st.sampled_from(Wild)), max_size=8)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("x", "x"),
        (4688, "4688"),
        (4688.0, "4688"),
        (0.5, "0.5"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_a_value_has_one_text(value: object, text: str | None) -> None:
    assert text_of(value) == text


def test_a_final_sigma_is_a_sigma() -> None:
    assert fold("ΟΔΟΣ") == fold("οδος") == fold("οδοσ")


@given(st.text(), st.text(), st.text())
def test_what_contains_a_text_still_does_when_both_are_folded(a: str, b: str, c: str) -> None:
    assert fold(b) in fold(a + b + c)


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("-0.5", -0.5), ("x", None), ("inf", None), ("nan", None)]
)
def test_only_finite_numbers_are_numbers(text: str, number: float | None) -> None:
    assert number_of(text) == number


@given(PARTS)
def test_a_pattern_says_the_parts_it_was_made_of(parts: list[str | Wild]) -> None:
    merged: list[str | Wild] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)

    assert parts_of(joined(parts)) == tuple(merged)


@given(st.text())
def test_any_text_is_a_pattern(text: str) -> None:
    assert all(parts_of(text)) or not text
