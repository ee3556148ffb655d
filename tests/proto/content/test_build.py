"""The laws of building an index."""

import random

import pytest

from proto.content import build
from proto.content.build import IndexBuilder
from proto.content.errors import BadValue, ContentTooLarge
from proto.content.index import MappedIndex
from proto.content.kinds import IndicatorKind
from tests.proto.content.builders import EICAR, a_file, a_provenance, a_release, some_rows


def test_the_same_indicators_give_the_same_bytes() -> None:
    assert a_file(some_rows()) == a_file(some_rows())


def test_the_order_of_values_makes_no_difference() -> None:
    rows = [(IndicatorKind.IPV4, f"192.0.2.{n}", a_provenance()) for n in range(1, 200, 2)]
    rows += [(IndicatorKind.FILE_NAME, f"name{n}", a_provenance()) for n in range(100)]
    shuffled = random.Random(3).sample(rows, len(rows))

    assert a_file(shuffled) == a_file(rows)


def test_the_same_indicator_twice_counts_once() -> None:
    doubled = [*some_rows(), *some_rows(), (IndicatorKind.SHA256, EICAR.upper(), a_provenance())]

    assert a_file(doubled) == a_file(some_rows())


def test_an_empty_index_is_an_index() -> None:
    assert MappedIndex(a_file([])).count == 0


@pytest.mark.parametrize("kind", list(IndicatorKind))
def test_a_bad_value_leaves_the_build_as_it_was(kind: IndicatorKind) -> None:
    builder = IndexBuilder(a_release())

    with pytest.raises(BadValue):
        builder.add(kind, "\0", a_provenance())

    assert builder.finish() == a_file([])


def test_a_salt_of_another_length_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="salt"):
        IndexBuilder(a_release(salt=b"short"))


def test_more_indicators_than_an_index_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "INDICATORS_MAX", 3)

    with pytest.raises(ContentTooLarge):
        a_file(some_rows())


def test_a_list_of_addresses_costs_thirteen_bytes_each_with_everything() -> None:
    rows = [
        (IndicatorKind.IPV4, f"10.{n >> 8}.{n & 255}.{n % 199 + 1}", a_provenance())
        for n in range(10_000)
    ]

    assert len(a_file(rows)) / len(rows) <= 13


def test_a_digest_costs_at_most_seventeen_bytes_with_everything() -> None:
    seeded = random.Random(1)
    rows = [
        (IndicatorKind.SHA256, seeded.randbytes(32).hex(), a_provenance(confidence=n % 100))
        for n in range(20_000)
    ]

    assert len(a_file(rows)) / len(rows) <= 17
