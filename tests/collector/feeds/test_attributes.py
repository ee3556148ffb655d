"""The laws of the words for kinds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.feeds.attributes import values_of
from proto.content.errors import BadValue


@pytest.mark.parametrize(
    ("word", "value", "found"),
    [
        ("ip-dst", "192.0.2.1", [("ipv4", "192.0.2.1")]),
        ("ip-dst|port", "2001:db8::1|443", [("ip_port", "[2001:db8::1]:443")]),
        ("filename|sha256", "x.exe|aa", [("sha256", "aa")]),
        ("domain|ip", "a.example|192.0.2.1", [("domain", "a.example"), ("ipv4", "192.0.2.1")]),
        ("hostname|port", "a.example|80", [("hostname", "a.example")]),
        ("FileHash-MD5", "bb", [("md5", "bb")]),
        ("IPv4", "192.0.2.1", [("ipv4", "192.0.2.1")]),
        ("mutex", "x", [("mutex", "x")]),
    ],
)
def test_a_word_names_kinds(word: str, value: str, found: list[tuple[str, str]]) -> None:
    assert [(kind.value, part) for kind, part in values_of(word, value)] == found


@pytest.mark.parametrize(
    ("word", "value"), [("regkey", "x"), ("ip-dst|port", "x"), ("domain|ip", "a"), ("", "x")]
)
def test_what_is_no_kind_of_ours_is_a_bad_value(word: str, value: str) -> None:
    with pytest.raises(BadValue):
        list(values_of(word, value))


@given(word=st.text(alphabet="ip-dst|porflename") | st.text(), value=st.text())
def test_any_words_are_kinds_or_a_bad_value(word: str, value: str) -> None:
    try:
        list(values_of(word, value))
    except BadValue:
        return
