"""The laws of reading ThreatFox."""

import json

import pytest

from collector.feeds import threatfox
from collector.feeds.errors import FeedUnusable
from collector.feeds.rows import FeedRow
from proto.content.normalise import normalise
from tests.collector.feeds.feedkit import only_row, read_as, reasons_of, values_of

IOC = {
    "id": "1",
    "ioc": "2a02:cf40:1::5:40669",
    "ioc_type": "ip:port",
    "malware_printable": "Cobalt Strike",
    "confidence_level": 75,
    "first_seen": "2026-05-27 10:00:00 UTC",
    "tags": None,
}
EXPORT = {"1": [{**IOC, "ioc_value": "evil.example", "ioc_type": "domain"}], "2": [IOC]}


@pytest.mark.parametrize(
    "text", [json.dumps(IOC), json.dumps({"data": [IOC]}), json.dumps([IOC])[1:-1]]
)
def test_an_indicator_is_read_in_each_form(text: str) -> None:
    row = only_row(read_as(threatfox.read, text))

    assert (row.family, row.confidence) == ("Cobalt Strike", 75)
    assert normalise(row.kind, row.value) == "[2a02:cf40:1::5]:40669"


def test_the_export_is_lists_by_id_and_a_dump_is_an_object_a_line() -> None:
    both = [("domain", "evil.example"), ("ip_port", IOC["ioc"])]

    assert values_of(read_as(threatfox.read, json.dumps(EXPORT))) == both
    dump = "\n".join(json.dumps(one) for group in EXPORT.values() for one in group)
    assert values_of(read_as(threatfox.read, dump)) == both


def test_a_table_has_its_header_in_a_comment() -> None:
    header = '# "first_seen_utc","ioc_id","ioc_value","ioc_type","threat_type"\n'

    found = read_as(
        threatfox.read_csv,
        header
        + f'"2026-05-27 10:00:00", "1", "{"a" * 64}", "sha256_hash", "payload"\n"x","2","y","z"\n',
    )

    assert values_of(found) == [("sha256", "a" * 64)]
    assert [line for line, _ in reasons_of(found)] == [3]


def test_a_bad_row_is_named_and_the_next_one_is_read() -> None:
    bad = [
        "nonsense",
        json.dumps({**IOC, "ioc_type": "carrier pigeon"}),
        json.dumps({**IOC, "confidence_level": 900}),
        json.dumps({**IOC, "first_seen": "soon"}),
        json.dumps({**IOC, "ioc": 5}),
    ]

    found = read_as(threatfox.read, "\n".join([*bad, json.dumps(IOC)]))

    assert [type(row) is FeedRow for row in found] == [False] * 5 + [True]
    assert [line for line, _ in reasons_of(found)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("text", ['{"a": 1}', '{"data": 5}', '{"a": [1], "b": {}}'])
def test_another_object_is_no_feed(text: str) -> None:
    with pytest.raises(FeedUnusable):
        read_as(threatfox.read, text)
