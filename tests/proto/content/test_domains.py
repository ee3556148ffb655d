"""The laws of one spelling for domain names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content.domains import (
    DOMAIN_CHARS_MAX,
    PARENT_LABELS_MAX,
    domain,
    host_label,
    hostname,
    parents,
    refanged,
)
from proto.content.errors import BadValue


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Evil.Example.", "evil.example"),
        ("evil[.]example", "evil.example"),
        ("evil(dot)example", "evil.example"),
        ("*.evil.example", "evil.example"),
        (".evil.example", "evil.example"),
        ("evil.example:8443", "evil.example"),
        ("_dmarc.evil.example", "_dmarc.evil.example"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("xn--BCHER-kva.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("\uff45vil\u3002example", "evil.example"),
        ("ev\u00adil.example", "evil.example"),
    ],
)
def test_a_domain_has_one_spelling(text: str, name: str) -> None:
    assert domain(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "com",
        "evil..example",
        "evil.example..",
        "a b.example",
        "evil.example/x",
        "192.0.2.1",
        "2001:db8::1",
        "*.*.evil.example",
        "\u2100.example",
        "\u2665" * 2000 + ".example",
        "a" * 64 + ".example",
        "b\u00fc" * 60 + ".example",
        ".".join(["a" * 60] * 5),
    ],
)
def test_what_is_no_domain_of_two_labels_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        domain(text)


def test_a_host_name_has_no_star() -> None:
    with pytest.raises(BadValue):
        hostname("*.evil.example")


def test_a_host_of_one_label_has_a_spelling_and_is_no_indicator() -> None:
    assert host_label("LocalHost.") == "localhost"
    with pytest.raises(BadValue):
        hostname("localhost")


def test_brackets_that_hide_no_dot_stay() -> None:
    assert refanged("a[x].b") == "a[x].b"


def test_parents_go_from_the_widest_to_the_name_itself() -> None:
    assert list(parents("a.b.evil.example")) == [
        "evil.example",
        "b.evil.example",
        "a.b.evil.example",
    ]
    assert list(parents("evil.example")) == ["evil.example"]
    assert list(parents("localhost")) == ["localhost"]


@given(labels=st.lists(st.sampled_from(["a", "bc"]), min_size=2, max_size=80))
def test_a_name_of_any_depth_has_a_bounded_number_of_parents(labels: list[str]) -> None:
    name = ".".join(labels)

    found = list(parents(name))

    expected = [".".join(labels[-n:]) for n in range(2, len(labels))][:PARENT_LABELS_MAX]
    assert found == [*expected, name]


@given(text=st.text(alphabet="aB.-_ü。\u00ad*[]:1") | st.text())
def test_any_text_has_one_stable_spelling_or_is_a_bad_value(text: str) -> None:
    try:
        name = domain(text)
    except BadValue:
        return

    assert domain(name) == hostname(name) == name
    assert name.isascii()
    assert len(name) <= DOMAIN_CHARS_MAX


@given(text=st.from_regex(r"\A[a-z0-9_-]{1,3}(\.[a-z0-9-]{1,3}){1,3}\Z"))
def test_what_is_taken_as_it_stands_is_what_the_long_way_gives(text: str) -> None:
    try:
        expected = domain(f" {text}")
    except BadValue:
        with pytest.raises(BadValue):
            domain(text)
        return

    assert domain(text) == hostname(text) == expected
