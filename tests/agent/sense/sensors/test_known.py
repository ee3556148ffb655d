"""What became known is counted, not assumed."""

import pytest

from agent.sense.sensors.known import Known
from proto.model import Process


def test_each_part_is_counted_by_itself() -> None:
    known = Known()
    known.count(Process(bytes(16), 7, 1, argv=("id",), sha256=bytes(32)), has_parent=True)
    known.count(Process(bytes(16), 8, 1), has_parent=True)
    known.count(Process(bytes(16), 9, 1, argv=("id",)), has_parent=False)

    assert known.execs == 3
    assert known.percents() == {
        "argv_known_percent": pytest.approx(66.7, abs=0.1),
        "parent_known_percent": pytest.approx(66.7, abs=0.1),
        "hash_known_percent": pytest.approx(33.3, abs=0.1),
    }
    assert known.text() == "argv of 66.7 %, parent of 66.7 %, hash of 33.3 %"


def test_of_nothing_there_is_no_part() -> None:
    assert Known().percents() == {}
    assert Known().text() == "no exec yet"
