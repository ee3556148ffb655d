from agent.sense.sensors.losses import Losses
from proto.model import Drop, DropReason
from tests.fakes.clock import FakeClock


def test_a_gap_begins_where_all_was_last_taken() -> None:
    clock = FakeClock()
    losses = Losses("processes", clock)
    clock.forward(5)
    losses.nothing_lost_until_now()
    first, first_boot = clock.wall_ns(), clock.boot_ns()
    clock.forward(2)

    losses.gap("no room")

    assert losses.take() == [
        Drop(
            reason=DropReason.SOURCE_GAP,
            sensor="processes",
            count=None,
            first=first,
            last=clock.wall_ns(),
            first_boot=first_boot,
            last_boot=clock.boot_ns(),
            detail="no room",
        )
    ]


def test_a_thousand_losses_of_one_kind_are_one_record() -> None:
    losses = Losses("processes", FakeClock())

    for _ in range(1000):
        losses.gap("no room")
        losses.overflow("not hashed", 2)

    gap, overflow = losses.take()
    assert gap.count is None
    assert overflow.count == 2000
    assert losses.total == 3000


def test_nothing_lost_is_nothing_told() -> None:
    losses = Losses("processes", FakeClock())

    losses.overflow("not hashed", 0)

    assert losses.take() == []


def test_a_loss_is_told_once() -> None:
    losses = Losses("processes", FakeClock())
    losses.gap("no room")
    losses.take()

    assert losses.take() == []
    assert losses.total == 1
