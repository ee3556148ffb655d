import re

import pytest
from msgspec import json

from collector.comply.report import headline_rows, item_rows, score_record, text
from collector.comply.score import Readiness, readiness, weigh
from collector.comply.standing import Statement
from proto.codec import decode_record, encode_record
from tests.collector.builders import NOW
from tests.collector.comply.builders import (
    CHECKS,
    FAIL,
    PASS,
    UNKNOWN,
    a_catalogue,
    a_population,
    a_statement,
    all_of,
)


def readings(statements: list[Statement]) -> list[Readiness]:
    weighed = weigh(a_catalogue(), a_population(), statements, NOW)
    return [readiness(scheme, weighed) for scheme in a_catalogue().schemes]


BANNED = re.compile(r"\b(compliant|certified|audited|assured|guarantee)", re.IGNORECASE)
WORLDS = {
    "whole": all_of(PASS),
    "failing": all_of(FAIL),
    "unknown": all_of(UNKNOWN),
    "silent": [],
}


@pytest.mark.parametrize("world", WORLDS)
def test_no_output_promises_what_only_people_can_judge(world: str) -> None:
    found = readings(WORLDS[world])

    output = text(found)
    output += json.encode([list(headline_rows(found)), list(item_rows(found[0]))]).decode()

    assert not BANNED.search(output)
    assert output.startswith("Readiness evidence for ")


@pytest.mark.parametrize("world", ["unknown", "silent"])
def test_without_evidence_no_percentage_of_a_score_is_shown(world: str) -> None:
    output = text(readings(WORLDS[world]))

    assert "%" not in output
    assert output.count("no evidence: nothing seen for any of") == 3


def test_a_headline_states_score_reach_and_coverage_together() -> None:
    row = list(headline_rows(readings([*all_of(PASS), a_statement(FAIL, order=2)])))[2]

    assert row["framework"] == "soc2"
    assert (row["items"], row["evidenced"], row["supporting"]) == (61, 3, 4)
    assert (row["hosts"], row["hosts_reporting"], row["hosts_failing"]) == (1, 1, 1)
    assert row["score_percent"] == row["upper_percent"] == row["worst_host_percent"]
    assert row["coverage_percent"] == 100.0
    assert row["as_of"] == "2026-09-21T14:13:20Z"


def test_a_share_just_under_the_whole_is_not_rounded_up_to_it() -> None:
    (reading, *_) = readings(all_of(PASS))
    almost = type(reading)(
        **{name: getattr(reading, name) for name in reading.__struct_fields__} | {"score": 0.99999}
    )

    (row,) = headline_rows([almost])

    assert row["score_percent"] == 99.9


def test_items_are_those_that_checks_speak_for() -> None:
    rows = list(item_rows(readings(all_of(PASS))[2]))

    assert [row["reference"] for row in rows] == [
        "CC6.1",
        "CC6.2",
        "CC6.3",
        "CC6.6",
        "CC6.7",
        "CC6.8",
        "CC7.2",
    ]
    assert {row["evidence"] for row in rows} == {"direct", "supporting"}
    assert {row["evidence"] for row in item_rows(readings([])[2])} == {"none"}


def test_a_record_says_the_same_and_goes_over_the_wire() -> None:
    for reading in readings([*all_of(PASS), a_statement(FAIL, CHECKS[3].id, order=2)]):
        score = score_record(reading)

        assert decode_record(encode_record(score)) == (score, False)
        assert (score.assured, score.coverage, score.upper) == (
            reading.score,
            reading.coverage,
            reading.upper,
        )
        assert (score.items, score.evidenced) == (len(reading.items), reading.evidenced)
        assert {item.reference for item in score.detail} == {
            item.reference for item in reading.items if item.checks
        }
