import sqlite3
from pathlib import Path

import pytest

from collector.comply import queries
from collector.comply.framework import FrameworkRejected
from tests.collector.builders import NOW
from tests.collector.comply.builders import FAIL, Ledger, a_catalogue, a_digest


def test_records_and_readings_say_the_same() -> None:
    ledger = Ledger().take(*a_digest(FAIL))

    scores = queries.scores(ledger.db, NOW)
    readings = queries.readings(ledger.db, NOW)

    assert [(one.framework, one.coverage) for one in scores] == [
        (one.framework, one.coverage) for one in readings
    ]
    assert len(scores) == 3


def test_what_was_lost_is_told_by_framework() -> None:
    ledger = Ledger().take(*a_digest(FAIL))

    losses = queries.losses(ledger.db, "soc2", NOW, a_catalogue())

    assert sum(loss.points for loss in losses) == pytest.approx(100)


def test_a_framework_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(FrameworkRejected, match="nist80053"):
        queries.losses(Ledger().db, "pci", NOW)


def test_a_database_can_be_asked_read_only(tmp_path: Path) -> None:
    path = tmp_path / "comply.db"
    ledger = Ledger().take(*a_digest())
    with sqlite3.connect(path) as copy:
        ledger.db.backup(copy)
    copy.close()

    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    scores = queries.scores(db, NOW)
    db.close()

    assert {score.assured for score in scores} == {1.0}


def test_a_moment_before_the_newest_batch_is_that_of_the_batch() -> None:
    ledger = Ledger().take(*a_digest(), received=NOW)

    assert queries.not_before_evidence(ledger.db, NOW - 5) == NOW
    assert queries.not_before_evidence(ledger.db, NOW + 5) == NOW + 5
