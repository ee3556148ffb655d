"""Where an event moves the cursor."""

import pytest

from collector.forward.event import Checkpoint, Event, EventKind, Origin, Place
from proto.model import Severity

ORIGIN = Origin("tenant", "agent", "host", 1)


@pytest.mark.parametrize(
    ("position", "index", "is_last", "through"),
    [
        (7, 0, False, Place(6, 1)),
        (7, 3, False, Place(6, 4)),
        (7, 4, True, Place(7)),
        (1, 0, True, Place(1)),
        (0, 0, False, None),
    ],
)
def test_the_cursor_passes_a_batch_only_with_its_last_record(
    position: int, index: int, is_last: bool, through: Place | None
) -> None:
    subject = Checkpoint(1, 1, "")
    event = Event(
        *("uid", EventKind.CHECKPOINT, Severity.LOW, 1, ORIGIN, subject), position, index, is_last
    )

    assert event.through == through


def test_places_are_in_ledger_order() -> None:
    places = [Place(2), Place(0, 1), Place(1), Place(0, 255), Place(0)]

    assert sorted(places) == [Place(0), Place(0, 1), Place(0, 255), Place(1), Place(2)]
