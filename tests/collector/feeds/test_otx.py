"""The laws of reading OTX."""

import json

import pytest

from collector.feeds import otx
from collector.feeds.errors import FeedUnusable
from collector.feeds.rows import FeedRow
from proto.model import Tlp
from tests.collector.feeds.feedkit import read_as, reasons_of, values_of

PULSE = {
    "name": "A campaign",
    "tlp": "amber",
    "malware_families": [{"display_name": "Mirai"}],
    "attack_ids": [{"id": "T1059.004"}, {"id": "TA0002"}],
    "indicators": [
        {"indicator": "evil.example", "type": "domain", "created": "2026-05-27T10:00:00"},
        {"indicator": "CVE-2026-1", "type": "CVE"},
        {"indicator": "a" * 64, "type": "FileHash-SHA256", "created": "soon"},
        {"indicator": "http://pay.example/x", "type": "URL", "expiration": "2026-06-27T10:00:00"},
    ],
}


@pytest.mark.parametrize("whole", [PULSE, [PULSE], {"count": 1, "results": [PULSE]}])
def test_pulses_are_read_in_each_form_and_bad_rows_named(whole: object) -> None:
    found = read_as(otx.read, json.dumps(whole))

    assert values_of(found) == [("domain", "evil.example"), ("url", "http://pay.example/x")]
    assert [line for line, _ in reasons_of(found)] == [2, 3]
    first, last = found[0], found[-1]
    assert isinstance(first, FeedRow)
    assert (first.family, first.tlp, first.attack) == ("Mirai", Tlp.AMBER, "T1059.004")
    assert isinstance(last, FeedRow)
    assert last.expires is not None


def test_a_pulse_that_says_little_leaves_the_word_to_the_settings() -> None:
    found = read_as(
        otx.read,
        json.dumps({"tlp": "pink", "indicators": [{"indicator": "a.example", "type": "hostname"}]}),
    )

    assert isinstance(found[0], FeedRow)
    assert (found[0].family, found[0].tlp, found[0].attack) == (None, None, None)


@pytest.mark.parametrize(
    "text", ["", "7", "[7]", '{"results": 7}', '{"indicators": 7}', "[" * 10**5]
)
def test_what_holds_no_pulses_is_unusable(text: str) -> None:
    with pytest.raises(FeedUnusable):
        read_as(otx.read, text)
