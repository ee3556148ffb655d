"""The laws of finding: what is written out for speed says what the plain way says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content.domains import parents
from proto.content.finders import any_spelling, nothing
from proto.content.kinds import IndicatorKind
from proto.content.records import IndicatorRow
from tests.proto.content.builders import a_provenance, an_index

LABELS = st.lists(st.sampled_from(["a", "b", "evil"]), min_size=1, max_size=16).map(".".join)


@given(name=LABELS, listed=st.lists(LABELS, max_size=5))
def test_a_name_is_found_in_just_the_listed_domains_that_are_its_parents(
    name: str, listed: list[str]
) -> None:
    rows = [(IndicatorKind.DOMAIN, domain, a_provenance()) for domain in {*listed} if "." in domain]

    found = an_index(rows).lookup_name(name)

    kept = {domain for _, domain, _ in rows}
    assert [row.value for row in found] == [one for one in parents(name) if one in kept]


@given(name=LABELS, listed=LABELS)
def test_a_host_is_found_as_itself_alone(name: str, listed: str) -> None:
    rows = [(IndicatorKind.HOSTNAME, listed, a_provenance())] if "." in listed else []

    assert bool(an_index(rows).lookup_name(name)) is (name == listed and "." in name)


def test_without_a_table_nothing_is_found() -> None:
    assert nothing("anything") == ()


@pytest.mark.parametrize(("text", "asked"), [("A.Example.", ["a.example"]), ("no name", [])])
def test_only_what_has_a_spelling_is_asked_for(text: str, asked: list[str]) -> None:
    seen: list[str] = []

    def find(value: str) -> tuple[IndicatorRow, ...]:
        seen.append(value)
        return ()

    assert any_spelling(IndicatorKind.DOMAIN, find)(text) == ()
    assert seen == asked
