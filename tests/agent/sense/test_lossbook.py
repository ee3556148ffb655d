"""What is lost again and again is said, and does not fill the outbox."""

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.lossbook import LossBook
from proto.model import Drop, DropReason


def a_loss(count: int | None = 1, at: int = 5, detail: str = "no room") -> Drop:
    return Drop(
        reason=DropReason.OVERFLOW,
        sensor="processes",
        count=count,
        first=at,
        last=at + 1,
        first_boot=at,
        last_boot=at + 1,
        detail=detail,
    )


def test_the_first_of_a_kind_is_told_at_once_and_the_rest_as_one() -> None:
    book = LossBook()

    told = [book.admits(a_loss(at=at)) for at in (5, 9, 7)]

    assert told == [True, False, False]
    (rest,) = book.take()
    assert (rest.count, rest.first, rest.last, rest.first_boot) == (2, 7, 10, 7)
    assert book.take() == []
    assert book.admits(a_loss())


def test_another_kind_is_told_at_once() -> None:
    book = LossBook()
    book.admits(a_loss())

    assert book.admits(a_loss(detail="another"))


def test_a_count_that_nobody_knows_stays_unknown() -> None:
    book = LossBook()
    for count in (1, 2, None, 3):
        book.admits(a_loss(count))

    assert book.take()[0].count is None


def test_what_is_said_of_batches_is_never_put_together() -> None:
    book = LossBook()
    start = Drop(reason=DropReason.UNCLEAN_START, sensor="processes", epoch=bytes(16))

    assert [book.admits(start) for _ in range(3)] == [True] * 3


@given(st.lists(st.tuples(st.integers(1, 99), st.sampled_from("ab"), st.booleans())))
def test_no_loss_is_left_out_and_none_counted_twice(steps: list[tuple[int, str, bool]]) -> None:
    book, sealed = LossBook(), []
    for count, detail, is_commit in steps:
        loss = a_loss(count, detail=detail)
        sealed += [loss] if book.admits(loss) else []
        sealed += book.take() if is_commit else []
    sealed += book.take()

    assert sum(drop.count or 0 for drop in sealed) == sum(count for count, *_ in steps)
