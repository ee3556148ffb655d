import pytest

from collector.issuer.renewal import Answer, Standing, answer_renewal

OLD, CURRENT, NEXT, FOREIGN = (bytes([n]) * 20 for n in range(1, 5))
ASKED, OTHER = b"asked", b"other"


def a_standing(
    serial: bytes, next_serial: bytes = b"", next_request: bytes = b"", stated: int = 0
) -> Standing:
    return Standing(
        current=CURRENT,
        next=next_serial,
        next_request=next_request,
        superseded=serial == OLD,
        generation_stated=stated,
    )


@pytest.mark.parametrize(
    ("serial", "next_serial", "next_request", "answer"),
    [
        (CURRENT, b"", b"", Answer.ISSUE),
        (CURRENT, NEXT, ASKED, Answer.RESEND),
        (CURRENT, NEXT, OTHER, Answer.ISSUE),
        (CURRENT, NEXT, b"", Answer.ISSUE),
        (NEXT, NEXT, ASKED, Answer.ISSUE),
        (NEXT, NEXT, OTHER, Answer.ISSUE),
        (OLD, b"", b"", Answer.LOCK),
        (OLD, NEXT, ASKED, Answer.LOCK),
        (FOREIGN, b"", b"", Answer.REFUSE),
        (FOREIGN, NEXT, ASKED, Answer.REFUSE),
        (b"", b"", b"", Answer.REFUSE),
    ],
)
def test_who_asks_by_what_is_answered_by_the_table(
    serial: bytes, next_serial: bytes, next_request: bytes, answer: Answer
) -> None:
    standing = a_standing(serial, next_serial, next_request)

    assert answer_renewal(standing, serial, ASKED, 0) is answer


def test_an_agent_without_current_certificate_cannot_renew() -> None:
    standing = Standing(b"", b"", b"", superseded=False, generation_stated=0)

    assert answer_renewal(standing, b"", ASKED, 0) is Answer.REFUSE


@pytest.mark.parametrize(
    ("stated", "known", "answer"),
    [(5, 5, Answer.ISSUE), (6, 5, Answer.ISSUE), (4, 5, Answer.LOCK), (0, 1, Answer.LOCK)],
)
def test_a_signing_process_that_states_an_earlier_generation_was_set_back(
    stated: int, known: int, answer: Answer
) -> None:
    assert answer_renewal(a_standing(CURRENT, stated=known), CURRENT, ASKED, stated) is answer
