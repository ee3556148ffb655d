import pytest

from proto.model import Severity

PAIRS = list(zip(Severity, list(Severity)[1:], strict=False))


@pytest.mark.parametrize(("lower", "higher"), PAIRS)
def test_severities_are_ordered(lower: Severity, higher: Severity) -> None:
    assert lower.rank < higher.rank
