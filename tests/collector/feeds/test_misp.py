"""The laws of reading MISP."""

import json

import pytest

from collector.feeds import misp
from collector.feeds.errors import FeedUnusable
from collector.feeds.rows import FeedRow
from proto.model import Tlp
from tests.collector.feeds.feedkit import read_as, reasons_of, values_of

ATTRIBUTE = {"type": "domain", "value": "evil.example", "to_ids": True, "timestamp": "1779876000"}


def an_event(*attributes: dict[str, object], **rest: object) -> str:
    return json.dumps({"Event": {"info": "Campaign", "Attribute": attributes, **rest}})


def test_attributes_of_an_event_and_of_its_objects_are_indicators() -> None:
    text = an_event(
        ATTRIBUTE,
        Object=[{"Attribute": [{**ATTRIBUTE, "type": "sha1", "value": "a" * 40}]}],
        Tag=[{"name": "type:OSINT"}, {"name": "tlp:green"}],
    )

    found = read_as(misp.read, text)

    assert values_of(found) == [("domain", "evil.example"), ("sha1", "a" * 40)]
    assert isinstance(found[0], FeedRow)
    assert (found[0].family, found[0].tlp) == ("Campaign", Tlp.GREEN)
    assert found[0].first_seen == 1_779_876_000 * 10**9


def test_what_is_not_meant_for_detection_is_none() -> None:
    assert read_as(misp.read, an_event({**ATTRIBUTE, "to_ids": False})) == []


def test_a_bad_attribute_is_named_and_the_next_one_is_read() -> None:
    bad = [{**ATTRIBUTE, "type": "regkey"}, {**ATTRIBUTE, "timestamp": "soon"}]

    found = read_as(misp.read, an_event(*bad, ATTRIBUTE, Tag=[{"name": "tlp:pink"}]))

    assert [line for line, _ in reasons_of(found)] == [1, 2]
    assert len(values_of(found)) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"Event": []}', "[" * 100_000, '{"Event": {"info"'])
def test_what_is_no_event_is_unusable(text: str) -> None:
    with pytest.raises(FeedUnusable):
        read_as(misp.read, text)


def test_an_export_is_a_table() -> None:
    text = (
        "uuid,event_id,category,type,value,comment,to_ids,date\n"
        'u,1,Network activity,ip-dst|port,192.0.2.1|80,"a, b",1,1779876000\n'
        "u,1,x,domain,quiet.example,,0,\n"
        "u,1,x,domain,,,1,\n"
        "u,1,x,regkey,HKLM,,1,\n"
    )

    found = read_as(misp.read_csv, text)

    assert values_of(found) == [("ip_port", "192.0.2.1:80")]
    assert [line for line, _ in reasons_of(found)] == [4, 5]
