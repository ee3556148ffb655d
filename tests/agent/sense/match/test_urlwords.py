"""The laws of finding URLs in arguments."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.match.urlwords import ARGUMENTS_MAX, URLS_MAX, urls_in


@pytest.mark.parametrize(
    ("argument", "urls"),
    [
        ("http://a.example/x", ["http://a.example/x"]),
        ("curl -s 'https://a.example/x?y=1&z' | sh", ["https://a.example/x?y=1&z"]),
        ("--url=ftp://a.example/x", ["ftp://a.example/x"]),
        ("(see http://a.example/x).", ["http://a.example/x"]),
        ("http://a.example,http://b.example", ["http://a.example,http://b.example"]),
        ("http://a.example/x http://b.example/y", ["http://a.example/x", "http://b.example/y"]),
        ("http://a.example http://a.example", ["http://a.example"]),
        ("http://", []),
        ("://x", []),
        ("a:// b", []),
        ("no url", []),
    ],
)
def test_urls_are_found_where_a_shell_would_end_them(argument: str, urls: list[str]) -> None:
    assert urls_in(["cmd", argument]) == urls


def test_there_are_at_most_so_many() -> None:
    many = [f"http://a.example/{n}" for n in range(50)]

    assert urls_in(many) == many[:URLS_MAX]
    assert urls_in([*["x"] * ARGUMENTS_MAX, "http://a.example"]) == []


@given(st.lists(st.text(alphabet="a:/. '\"") | st.text()))
def test_whatever_is_found_was_given(arguments: list[str]) -> None:
    for url in urls_in(arguments):
        assert any(url in argument for argument in arguments)


@pytest.mark.parametrize("text", ["://" * 5000, "a" * 16_000, "a://" * 5000, "." * 9000 + "://"])
def test_the_worst_arguments_take_milliseconds(text: str) -> None:
    began = time.process_time()

    urls_in([text] * 512)

    assert time.process_time() - began < 1
