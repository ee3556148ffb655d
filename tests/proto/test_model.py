import pytest

from proto.model import Severity


@pytest.mark.parametrize("lower,higher", list(zip(Severity, list(Severity)[1:], strict=False)))
def test_severities_are_ordered(lower: Severity, higher: Severity) -> None:
    assert lower.rank < higher.rank
