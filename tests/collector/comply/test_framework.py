import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from collector.comply.framework import (
    Framework,
    FrameworkRejected,
    Nature,
    builtin_frameworks,
    decode_framework,
)

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("VEDETTE_TEST_DATA", ROOT.parent / "shared/data"))
TABLES = {table.framework: table for table in builtin_frameworks()}
each = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)

BANNED = re.compile(r"\b(compliant|certified|audited|assured|guarantee)", re.IGNORECASE)

# Enough of each edition to see that it is that edition: a few ids, and how many there are.
NIST_SAMPLE = {
    "ac-1": "Policy and Procedures",
    "ac-6.10": "Prohibit Non-privileged Users from Executing Privileged Functions",
    "au-12": "Audit Record Generation",
    "sc-39": "Process Isolation",
    "si-16": "Memory Protection",
    "sr-12": "Component Disposal",
}


def ids(name: str) -> list[str]:
    return [requirement.id for requirement in TABLES[name].requirements]


def a_raw_table(**changes: object) -> bytes:
    raw = {
        "framework": "x",
        "edition": "1",
        "title": "A table",
        "note": "A note",
        "requirements": [{"id": "A.1", "title": "Something"}],
    }
    return json.encode(raw | changes)


def test_soc_2_has_its_61_criteria() -> None:
    wanted = [
        f"{family}.{number}"
        for family, count in (
            *(("CC1", 5), ("CC2", 3), ("CC3", 4), ("CC4", 2), ("CC5", 3), ("CC6", 8), ("CC7", 5)),
            *(("CC8", 1), ("CC9", 2), ("A1", 3), ("C1", 2), ("PI1", 5), ("P1", 1), ("P2", 1)),
            *(("P3", 2), ("P4", 3), ("P5", 2), ("P6", 7), ("P7", 1), ("P8", 1)),
        )
        for number in range(1, count + 1)
    ]

    assert ids("soc2") == wanted
    assert len(wanted) == 61


def test_iso_27001_has_the_93_controls_of_2022_and_none_of_2013() -> None:
    wanted = [
        f"{theme}.{number}"
        for theme, count in ((5, 37), (6, 8), (7, 14), (8, 34))
        for number in range(1, count + 1)
    ]

    assert ids("iso27001") == wanted
    assert len(wanted) == 93
    assert "12.4.1" not in ids("iso27001")


def test_nist_has_the_287_of_the_moderate_baseline() -> None:
    table = {one.id: one.title for one in TABLES["nist80053"].requirements}

    assert len(table) == 287
    assert NIST_SAMPLE.items() <= table.items()
    assert TABLES["nist80053"].edition == "5.1.1"


def test_nist_ids_and_titles_are_those_that_are_published() -> None:
    path = DATA / "nist/sp800-53r5-baselines.tsv"
    if not path.exists():
        pytest.skip(f"no published baselines at {path}")
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]

    moderate = {row[0]: row[1] for row in rows if "MODERATE" in row[2].split(",")}

    assert {one.id: one.title for one in TABLES["nist80053"].requirements} == moderate


@each
def test_no_requirement_is_a_machines_alone(table: Framework) -> None:
    shown = [one for one in table.requirements if one.facets]

    assert shown
    for requirement in shown:
        natures = {facet.nature for facet in requirement.facets}
        assert 0 < requirement.machine_share < 1
        assert Nature.MACHINE in natures
        assert natures - {Nature.MACHINE}


@each
def test_titles_are_short_and_no_two_are_alike_but_those_of_nist(table: Framework) -> None:
    titles = [one.title for one in table.requirements]

    assert max(len(title) for title in titles) <= 120
    if table.framework != "nist80053":
        assert len(set(titles)) == len(titles)


@each
def test_nothing_promises_what_only_people_can_judge(table: Framework) -> None:
    text = json.encode(table).decode()

    assert not BANNED.search(text)


def test_a_requirement_without_facets_has_no_share_for_machines() -> None:
    (board,) = (one for one in TABLES["soc2"].requirements if one.id == "CC1.2")

    assert (board.machine_share, board.machine_facets) == (0.0, frozenset())


MACHINE = {"id": "a", "nature": "machine", "words": "seen"}
MANUAL = {"id": "b", "nature": "manual", "words": "said"}


@pytest.mark.parametrize(
    "requirements",
    [
        [],
        [{"id": "A.1", "title": "Something"}] * 2,
        [{"id": "A.1", "title": "Something", "facets": [MACHINE]}],
        [{"id": "A.1", "title": "Something", "facets": [MANUAL]}],
        [{"id": "A.1", "title": "Something", "facets": [MACHINE, MACHINE, MANUAL]}],
        [{"id": "A 1", "title": "Something"}],
        [{"id": "A.1", "title": "Something", "share": 1.0}],
    ],
    ids=str,
)
def test_a_table_that_breaks_its_form_is_refused(requirements: object) -> None:
    with pytest.raises(FrameworkRejected):
        decode_framework(a_raw_table(requirements=requirements))


def test_a_table_that_keeps_it_is_read() -> None:
    facets = [MACHINE, MANUAL]
    requirement = {"id": "A.1", "title": "Something", "facets": facets}

    table = decode_framework(a_raw_table(requirements=[requirement]))

    assert table.requirements[0].machine_share == 0.5
    assert table.requirements[0].machine_facets == {"a"}


@given(st.binary(max_size=100))
def test_any_bytes_give_a_table_or_our_error(data: bytes) -> None:
    with pytest.raises(FrameworkRejected):
        decode_framework(data)
