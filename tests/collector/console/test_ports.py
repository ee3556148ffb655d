"""What is asked of other rooms is bounded and typed; a type checker reads this file."""

import msgspec
import pytest

from collector.console.ports import (
    ROWS_MAX,
    Check,
    FindingQuery,
    MetricsSource,
    PageQuery,
    Queries,
    Readiness,
    Sample,
)
from tests.collector.console.builders import Everything


def test_one_object_may_be_all_sources() -> None:
    everything = Everything()
    queries: Queries = everything
    metrics: MetricsSource = everything
    readiness: Readiness = everything

    assert queries.tenants()
    assert all(isinstance(sample, Sample) for sample in metrics.samples())
    assert readiness.checks() == [Check("ledger", ok=True)]


@pytest.mark.parametrize("kind", [FindingQuery, PageQuery])
def test_no_question_asks_for_more_rows_than_allowed(kind: type[PageQuery]) -> None:
    assert msgspec.convert({"limit": ROWS_MAX}, kind).limit == ROWS_MAX
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"limit": ROWS_MAX + 1}, kind)
