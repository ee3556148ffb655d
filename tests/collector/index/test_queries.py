import sqlite3
from pathlib import Path

import pytest

from collector.index import queries
from collector.index.queries import FindingFilter
from proto.model import FindingKind, Rule, Severity
from tests.collector.builders import AGENT, an_admitted_batch
from tests.collector.index.test_projection import an_index
from tests.proto.builders import a_finding

TIME = 1_790_000_000_000_000_000


def titles(db: sqlite3.Connection, **wanted: object) -> list[str]:
    return [row["title"] for row in queries.findings(db, FindingFilter(**wanted))]  # type: ignore[arg-type]


@pytest.fixture
def db() -> sqlite3.Connection:
    return an_index(
        an_admitted_batch(
            a_finding(title="old", event_time=TIME - 10, severity=Severity.LOW),
            a_finding(title="new", event_time=TIME, rule=Rule("login.failed")),
            a_finding(title="check", event_time=TIME + 5, kind=FindingKind.COMPLIANCE),
        )
    )


def test_the_newest_comes_first_and_no_more_than_asked(db: sqlite3.Connection) -> None:
    assert titles(db) == ["check", "new", "old"]
    assert titles(db, limit=1) == ["check"]


def test_every_filter_narrows(db: sqlite3.Connection) -> None:
    assert titles(db, kind="compliance") == ["check"]
    assert titles(db, rule="login.failed") == ["new"]
    assert titles(db, severity_min=Severity.MEDIUM) == ["check", "new"]
    assert titles(db, since=TIME, until=TIME + 1) == ["new"]
    assert titles(db, agent=AGENT.bytes) == ["check", "new", "old"]
    assert titles(db, agent=b"x" * 16) == []


def test_hostile_values_are_values(db: sqlite3.Connection) -> None:
    assert titles(db, rule="' OR 1=1 --") == []
    assert titles(db, kind="compliance'; DROP TABLE findings") == []
    assert len(titles(db)) == 3


def test_an_index_is_opened_for_reading_only(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        queries.open_index(str(tmp_path / "none.db"))
    sqlite3.connect(tmp_path / "x.db").execute("CREATE TABLE t (a)").connection.close()
    db = queries.open_index(str(tmp_path / "x.db"))

    with pytest.raises(sqlite3.OperationalError):
        db.execute("INSERT INTO t VALUES (1)")
    db.close()
