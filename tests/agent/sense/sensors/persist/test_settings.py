"""What the walk leaves out is a directory, and never everything."""

import msgspec
import pytest

from agent.sense.sensors.persist.settings import DEFAULT_WALK_EXCLUDE, PersistenceSettings


@pytest.mark.parametrize("path", ["", "/", "relative", "//"])
def test_the_walk_cannot_be_told_to_leave_out_everything(path: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"walk_exclude": [path]}, PersistenceSettings)


def test_what_is_left_out_by_default_is_allowed() -> None:
    made = msgspec.convert({"walk_exclude": list(DEFAULT_WALK_EXCLUDE)}, PersistenceSettings)

    assert made == PersistenceSettings()
