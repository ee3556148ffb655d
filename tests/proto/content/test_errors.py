"""The laws of content errors."""

import pytest

from proto.content import errors
from runtime.errors import Fault


@pytest.mark.parametrize(
    "kind", [errors.BadValue, errors.BadName, errors.ContentDamaged, errors.ContentTooLarge]
)
def test_a_content_error_blames_the_peer_and_is_never_retried(
    kind: type[errors.ContentError],
) -> None:
    error = kind("it is wrong")

    assert error.fault is Fault.PEER
    assert not error.retryable


def test_a_newer_format_is_for_the_operator_to_mend() -> None:
    assert errors.ContentNewer("later").fault is Fault.OPERATOR


@pytest.mark.parametrize("reason", list(errors.RefuseReason))
def test_a_refusal_carries_a_reason_that_is_safe_as_a_label(reason: errors.RefuseReason) -> None:
    error = errors.ContentRefused(reason, "kept the old one")

    assert error.reason is reason
    assert reason.value.isidentifier()


def test_a_peers_text_stands_in_a_message_escaped_and_cut() -> None:
    hostile = "\x1b[2J\n" + "a" * 10_000

    shown = errors.shown(hostile)

    assert shown.isprintable()
    assert len(shown) < 120
