"""The status page shows what there is, escaped, and runs nothing."""

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from collector.console.page import render
from collector.console.ports import Check, Sample

HOSTILE = '<script>alert("x")</script>'
ALLOWED = {
    *("html", "head", "meta", "title", "link", "body", "h1", "h2", "span"),
    *("table", "tr", "th", "td"),
}


class Tags(HTMLParser):
    """Collects the tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_is_shown_stays_text(name: str, label: str) -> None:
    checks = [Check(name, ok=False, detail=label + HOSTILE)]
    samples = [Sample("forward_lag_batches", 1, (label, name + HOSTILE))]

    page = parsed(render(label, checks, samples))

    assert page.tags <= ALLOWED
    assert page.attributes <= {"lang", "charset", "name", "content", "rel", "href", "class"}


def test_health_stands_first_and_says_why() -> None:
    good = parsed(render("0.1.0", [Check("ledger", ok=True)], []))
    bad = parsed(render("0.1.0", [Check("ledger", ok=False, detail="the disk is full")], []))

    assert "Vedette collector 0.1.0: ready" in good.text
    assert "not ready" in bad.text
    assert "the disk is full" in bad.text


def test_without_a_check_nothing_is_ready() -> None:
    assert "not ready" in render("0.1.0", [], [])


def test_numbers_are_shown_for_people() -> None:
    samples = [
        Sample("forward_lag_batches", 1234567, ("t", "splunk")),
        Sample("forward_oldest_event_age_seconds", 2.345, ("t", "splunk")),
    ]

    text = parsed(render("1", [], samples)).text

    assert "1,234,567" in text
    assert "2.3" in text
    assert re.search("Verified batches that a destination has not dealt with", text)
