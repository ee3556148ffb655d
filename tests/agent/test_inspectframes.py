import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import inspectframes as frames
from agent.errors import FailReason, InspectionFailed

ANSWERS = [
    frames.Ready(1),
    frames.Data(7, b"data"),
    frames.Done(is_end=True),
    frames.Failed(FailReason.CORRUPT, "damaged"),
]


def test_a_request_survives() -> None:
    request = frames.Gunzip(offset=9, size_bytes_max=10, ratio_max=20, deadline_ms=30)

    assert frames.decode_request(frames.encode(request)) == request


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda frame: type(frame).__name__)
def test_answers_survive(answer: frames.Answer) -> None:
    assert frames.decode_answer(frames.encode(answer)) == answer


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda frame: type(frame).__name__)
def test_an_answer_is_no_request(answer: frames.Answer) -> None:
    with pytest.raises(InspectionFailed):
        frames.decode_request(frames.encode(answer))


@pytest.mark.parametrize(
    "answer",
    [
        [11, 0, b""],
        [11, 0, bytes(frames.CHUNK_BYTES + 1)],
        [11, -1, b"x"],
        [13, "corrupt", "x" * 201],
        [13, "surprise", "x"],
        [99],
    ],
    ids=lambda found: str(found)[:16],
)
def test_what_goes_beyond_the_limits_is_refused(answer: list[object]) -> None:
    with pytest.raises(InspectionFailed) as failed:
        frames.decode_answer(msgspec.msgpack.encode(answer))

    assert failed.value.reason is FailReason.GARBAGE


def test_the_largest_answer_fits_a_message() -> None:
    largest = frames.encode(frames.Data(2**62, bytes(frames.CHUNK_BYTES)))

    assert len(largest) <= frames.MESSAGE_BYTES_MAX


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_refused(data: bytes) -> None:
    for decode in (frames.decode_request, frames.decode_answer):
        with contextlib.suppress(InspectionFailed):
            decode(data)
