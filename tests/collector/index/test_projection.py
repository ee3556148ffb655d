import sqlite3

from collector.index import queries
from collector.index.projection import IndexProjection
from collector.ports import AdmittedBatch
from proto.model import (
    Change,
    Drop,
    DropReason,
    Entity,
    Finding,
    Incident,
    IncidentStatus,
    InventoryItem,
    Package,
    Role,
    Rule,
    Severity,
    Source,
)
from tests.collector.builders import AGENT, an_admitted_batch
from tests.proto.builders import a_finding, a_process

INDEX = IndexProjection()


def an_index(*batches: AdmittedBatch) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    db.executescript(INDEX.schema)
    for batch in batches:
        assert INDEX.apply(db, batch) == ()
    return db


def an_incident(revision: int, **changes: object) -> Incident:
    values: dict[str, object] = {
        "uid": b"i" * 16,
        "revision": revision,
        "status": IncidentStatus.OPEN,
        "severity": Severity.HIGH,
        "title": "Several",
        "rule": Rule("r"),
        "rule_digest": bytes(32),
        "key": (),
        "first": 1,
        "last": 2,
        "count": revision,
        "hosts": (AGENT.bytes,),
        "sources": (),
    }
    return Incident(**(values | changes))  # type: ignore[arg-type]


def a_package(
    version: str, change: Change = Change.PRESENT, path: str | None = None
) -> InventoryItem:
    package = Package("deb", "openssl", version, "amd64", path=path)
    return InventoryItem(
        change, Entity(Role.RELATED, package), 5, Source("packages", "dpkg", "all")
    )


def test_a_finding_is_found_again_with_the_place_that_proves_it() -> None:
    finding = a_finding()
    batch = an_admitted_batch(a_finding(title="other"), finding)
    db = an_index(batch)

    (row,) = (
        row for row in queries.findings(db, queries.FindingFilter()) if row["title"] != "other"
    )

    assert isinstance(finding, Finding)
    assert (row["rule"], row["severity"], row["host"]) == ("indicator.sha256", "high", "host-1")
    uid = bytes.fromhex(row["uid"].replace("-", ""))
    assert queries.place_of(db, uid) == batch.records[1].ref
    assert queries.place_of(db, b"x" * 16) is None


def test_taking_a_batch_twice_changes_no_finding() -> None:
    batch = an_admitted_batch(a_finding())
    db = an_index(batch, batch)

    assert queries.counts(db)["findings"] == 1


def test_a_host_says_what_it_last_said() -> None:
    db = an_index(an_admitted_batch(), an_admitted_batch(position=2, host_name="renamed"))

    (host,) = queries.hosts(db)

    assert (host["host"], host["batches"], host["seq"]) == ("renamed", 2, 2)
    assert host["content"][0]["version"] == "7"


def test_the_collectors_own_batches_make_no_host() -> None:
    db = an_index(an_admitted_batch(an_incident(1), derived=True))

    assert queries.counts(db) == {
        "hosts": 0,
        "findings": 0,
        "incidents": 1,
        "inventory": 0,
        "events": 0,
    }


def test_an_incident_shows_its_newest_revision_in_whatever_order_they_come() -> None:
    db = an_index(
        an_admitted_batch(an_incident(2), derived=True),
        an_admitted_batch(an_incident(1), position=2, derived=True),
    )

    (row,) = queries.incidents(db)

    assert (row["revision"], row["count"]) == (2, 2)


def test_inventory_follows_what_came_and_went() -> None:
    db = an_index(
        an_admitted_batch(a_package("3.0.9")),
        an_admitted_batch(a_package("3.0.11", Change.ADDED), position=2),
    )
    assert [row["version"] for row in queries.inventory(db, "openssl")] == ["3.0.11"]

    INDEX.apply(db, an_admitted_batch(a_package("3.0.11", Change.REMOVED), position=3))

    assert list(queries.inventory(db)) == []


def test_packages_of_one_name_in_two_places_are_two() -> None:
    db = an_index(an_admitted_batch(a_package("1", path="/a"), a_package("2", path="/b")))
    assert [row["version"] for row in queries.inventory(db, "openssl")] == ["1", "2"]

    INDEX.apply(db, an_admitted_batch(a_package("1", Change.REMOVED, "/a"), position=3))

    assert [row["path"] for row in queries.inventory(db)] == ["/b"]


def test_an_old_version_that_goes_leaves_the_one_that_came() -> None:
    db = an_index(
        an_admitted_batch(a_package("1"), a_package("2", Change.ADDED)),
        an_admitted_batch(a_package("1", Change.REMOVED), position=2),
    )

    assert [row["version"] for row in queries.inventory(db)] == ["2"]


def test_what_was_lost_can_be_asked_for() -> None:
    drop = Drop(reason=DropReason.SOURCE_GAP, sensor="processes", count=3)
    db = an_index(an_admitted_batch(drop))

    (row,) = queries.events(db)

    assert (row["type"], row["body"]["reason"]) == ("drop", "source_gap")


def test_the_same_batches_give_the_same_dump() -> None:
    batches = [an_admitted_batch(a_finding(), a_package(str(n)), position=n) for n in range(1, 5)]

    assert list(an_index(*batches).iterdump()) == list(an_index(*batches).iterdump())


def test_digests_are_shown_as_people_compare_them() -> None:
    process = a_process(sha256=bytes(range(32)), tty=None)
    db = an_index(an_admitted_batch(a_finding(process=process)))

    (row,) = queries.findings(db, queries.FindingFilter())

    assert row["body"]["process"]["sha256"] == bytes(range(32)).hex()
    assert row["body"]["process"]["tty"] is None
    assert "cwd" not in row["body"]["process"]
