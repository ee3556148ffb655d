"""The laws of reading STIX bundles."""

import json

import pytest

from collector.feeds import stix
from collector.feeds.errors import FeedUnusable
from collector.feeds.rows import FeedRow
from proto.model import Tlp
from tests.collector.feeds.feedkit import read_as, reasons_of, values_of

INDICATOR = {
    "type": "indicator",
    "id": "indicator--1",
    "name": "Bad domain",
    "pattern": "[domain-name:value = 'evil.example']",
    "pattern_type": "stix",
    "valid_from": "2026-05-27T10:00:00.000Z",
    "valid_until": "2026-06-27T10:00:00Z",
    "confidence": 85,
    "object_marking_refs": ["marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"],
}


def a_bundle(*objects: object) -> str:
    return json.dumps({"type": "bundle", "id": "bundle--1", "objects": objects})


def test_an_indicator_keeps_name_confidence_marking_and_validity() -> None:
    (row,) = read_as(stix.read, a_bundle({"type": "malware", "name": 5}, INDICATOR))

    assert isinstance(row, FeedRow)
    assert (row.line, row.kind.value, row.value) == (2, "domain", "evil.example")
    assert (row.family, row.confidence, row.tlp) == ("Bad domain", 85, Tlp.GREEN)
    assert row.first_seen is not None
    assert row.expires is not None


def test_a_revoked_indicator_is_none() -> None:
    assert read_as(stix.read, a_bundle({**INDICATOR, "revoked": True})) == []


def test_what_is_not_lowered_is_named_and_the_next_one_is_read() -> None:
    bad = [
        {**INDICATOR, "pattern": "[a:b = 'x' AND c:d = 'y']"},
        {**INDICATOR, "pattern_type": "yara"},
        {**INDICATOR, "valid_until": "never"},
        {**INDICATOR, "pattern": None},
        {"type": "indicator"},
        7,
    ]

    found = read_as(stix.read, a_bundle(*bad, INDICATOR))

    assert values_of(found) == [("domain", "evil.example")]
    assert [line for line, _ in reasons_of(found)] == [1, 2, 3, 4, 5, 6]
    assert "'indicator--1' is not lowered" in reasons_of(found)[0][1]


@pytest.mark.parametrize("text", ["", "[]", '{"objects": 7}', "[" * 10**5, '{"objects": [{"type"'])
def test_what_is_no_bundle_is_unusable(text: str) -> None:
    with pytest.raises(FeedUnusable):
        read_as(stix.read, text)
