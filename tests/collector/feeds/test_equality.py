"""The laws of lowering patterns."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.feeds.equality import PATTERN_CHARS_MAX, VALUES_MAX, lowered
from proto.content.errors import BadValue


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        ("[domain-name:value = 'evil.example']", [("domain", "evil.example")]),
        ("[file:hashes.'SHA-256' = 'aa']", [("sha256", "aa")]),
        ("[file:hashes.\"SHA-1\"='aa' or file:hashes.MD5 = 'bb']", [("sha1", "aa"), ("md5", "bb")]),
        (
            " [ipv4-addr:value='192.0.2.0/24'] OR [url:value = 'http://a.example/']\n",
            [("cidr", "192.0.2.0/24"), ("url", "http://a.example/")],
        ),
        (
            "[ipv6-addr:value IN ('2001:db8::1','2001:db8::2')]",
            [("ipv6", "2001:db8::1"), ("ipv6", "2001:db8::2")],
        ),
        (r"[file:name = 'it\'s \\ here']", [("file_name", r"it's \ here")]),
        ("[mutex:name = 'OR ] [']", [("mutex", "OR ] [")]),
    ],
)
def test_a_pattern_that_lists_values_is_these(pattern: str, values: list[tuple[str, str]]) -> None:
    assert [(kind.value, value) for kind, value in lowered(pattern)] == values


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "[",
        "[]",
        "evil.example",
        "[domain-name:value = 'a'",
        "[domain-name:value = 'a",
        "[domain-name:value = 7]",
        "[domain-name:value != 'a']",
        "[domain-name:value LIKE 'a%']",
        "[domain-name:value MATCHES 'a.*']",
        "[NOT domain-name:value = 'a']",
        "[domain-name:value NOT = 'a']",
        "[domain-name:value = 'a' AND file:name = 'b']",
        "[domain-name:value = 'a'] AND [file:name = 'b']",
        "[domain-name:value = 'a'] FOLLOWEDBY [file:name = 'b']",
        "[domain-name:value = 'a'] WITHIN 5 SECONDS",
        "([domain-name:value = 'a'])",
        "[domain-name:value IN ('a']",
        "[domain-name:value IN ('a' 'b')]",
        "[windows-registry-key:key = 'a']",
        "[domain-name:value = 'a'] OR",
        "[domain-name:value = 'a'] x",
        "[" * 60_000,
        "[domain-name:value IN (" + "'a'," * VALUES_MAX + "'b')]",
        "x" * (PATTERN_CHARS_MAX + 1),
    ],
)
def test_a_pattern_that_says_more_is_refused(pattern: str) -> None:
    with pytest.raises(BadValue):
        lowered(pattern)


@given(
    st.text(alphabet="[]()'\\=, ORIN:a-z.\"")
    | st.lists(
        st.sampled_from(["[", "]", "a:b", "file:name", "=", "'x'", " OR ", "IN", "(", ")", ","])
    ).map(" ".join)
)
def test_any_text_is_values_or_a_bad_value(pattern: str) -> None:
    try:
        assert lowered(pattern)
    except BadValue:
        return


@pytest.mark.parametrize(
    "text", ["'" + "\\'" * 30_000, " " * 65_000, "a" * 65_000, "a:b" + ".c" * 30_000]
)
def test_the_longest_patterns_take_milliseconds(text: str) -> None:
    began = time.process_time()

    with pytest.raises(BadValue):
        lowered(f"[{text}"[:PATTERN_CHARS_MAX])

    assert time.process_time() - began < 1
