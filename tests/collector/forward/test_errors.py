"""Every failure says whose fault it is and whether it may be tried again."""

import pytest

from collector.forward.errors import (
    NoSuchDestination,
    NoSuchLetter,
    SinkMisconfigured,
    SinkRejected,
    SinkUnavailable,
)
from runtime.errors import Fault, VedetteError


@pytest.mark.parametrize(
    ("error", "retryable", "fault"),
    [
        (SinkUnavailable("down"), True, Fault.PEER),
        (SinkMisconfigured("token"), False, Fault.OPERATOR),
        (SinkRejected("bad"), False, Fault.OURS),
        (NoSuchDestination("x"), False, Fault.OPERATOR),
        (NoSuchLetter("7"), False, Fault.OPERATOR),
    ],
)
def test_an_error_answers_by_its_type(error: VedetteError, retryable: bool, fault: Fault) -> None:
    assert (error.retryable, error.fault) == (retryable, fault)


@pytest.mark.parametrize(("asked_s", "wait_s"), [(-1, 0), (0, 0), (30, 30), (1e9, 3600)])
def test_a_receiver_may_ask_for_an_hour_at_most(asked_s: float, wait_s: float) -> None:
    assert SinkUnavailable("busy", retry_after_s=asked_s).retry_after_s == wait_s
