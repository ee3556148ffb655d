import sqlite3

import pytest

from collector.ports import Admitted, AdmittedBatch, LiveProjection, Projection
from collector.settings import CollectorSettings
from collector.work import projections
from proto.model import RecordRef
from tests.collector.builders import NOW, TENANT, an_admitted_batch
from tests.proto.builders import a_finding


@pytest.fixture(params=projections(CollectorSettings()), ids=lambda one: str(one.name))
def projection(request: pytest.FixtureRequest) -> Projection | LiveProjection:
    made: Projection | LiveProjection = request.param
    return made


def emptied(projection: Projection) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(projection.schema)
    return db


def some_batches() -> list[AdmittedBatch]:
    return [
        an_admitted_batch(*[a_finding(event_time=NOW + n) for n in range(3)], position=position)
        for position in range(1, 6)
    ]


def test_a_projection_makes_an_empty_database_ready_by_its_schema_alone(
    projection: Projection,
) -> None:
    db = emptied(projection)

    projection.apply(db, an_admitted_batch(a_finding()))

    assert projection.name == projection.name.lower()


def test_a_projection_leaves_the_transaction_to_who_moves_its_cursor(
    projection: Projection,
) -> None:
    db = emptied(projection)
    before = list(db.iterdump())

    db.execute("BEGIN IMMEDIATE")
    for batch in some_batches():
        projection.apply(db, batch)
    assert db.in_transaction
    db.execute("ROLLBACK")

    assert list(db.iterdump()) == before


def test_the_same_batches_give_the_same_dump_and_the_same_records(projection: Projection) -> None:
    """No clock and no chance: that is what lets a projection be thrown away."""
    first, second = emptied(projection), emptied(projection)

    told = [[list(projection.apply(db, b)) for b in some_batches()] for db in (first, second)]

    assert told[0] == told[1]
    assert list(first.iterdump()) == list(second.iterdump())


def test_what_came_twice_is_taken_in_as_the_same_thing(projection: Projection) -> None:
    """A record's place names it, so that nothing is counted by how often it is read."""
    db = emptied(projection)
    batch = an_admitted_batch(a_finding())

    projection.apply(db, batch)
    once = {name: rows(db, name) for name in ("findings", "signals")}
    projection.apply(db, batch)

    assert {name: rows(db, name) for name in once} == once


def rows(db: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    known = db.execute("SELECT name FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    return db.execute(f"SELECT * FROM {table}").fetchall() if known else []  # noqa: S608


def test_an_admitted_record_cannot_be_changed_by_who_reads_it() -> None:
    admitted = Admitted(RecordRef(b"a" * 16, b"e" * 16, 1, 0), a_finding())

    with pytest.raises(AttributeError):
        admitted.record = a_finding()  # type: ignore[misc]
    with pytest.raises(AttributeError):
        an_admitted_batch().tenant = TENANT  # type: ignore[misc]
