"""The laws of what judging needs."""

import pytest

from agent.sense.contentstore import NO_INDICATORS
from agent.sense.match.context import MatchContext


def test_a_context_never_changes_under_a_judgement() -> None:
    context = MatchContext(bytes(16), bytes(16), NO_INDICATORS, None, 1)

    with pytest.raises(AttributeError):
        context.now = 2  # type: ignore[misc]
