from pathlib import Path

from certs.identity import AgentId, PeerIdentity, TenantId
from collector.issuer import audit
from collector.issuer.audit import DETAIL_CHARS_MAX, Entry
from collector.issuer.store import Store

WHO = PeerIdentity(TenantId(b"t" * 16), AgentId(b"a" * 16))


def test_lines_come_back_in_order_and_from_where_one_left_off(tmp_path: Path) -> None:
    store = Store(tmp_path / "issuer.db")
    lines = [
        Entry(operation="enroll", source="192.0.2.1").about(WHO),
        Entry(operation="enroll", outcome="token", source="192.0.2.1", detail="no"),
        Entry(operation="mint_token", tenant=WHO.tenant, source="uid 0"),
    ]
    with store.transaction() as db:
        for number, line in enumerate(lines):
            audit.append(db, line, number)

    with store.reading() as db:
        found = audit.read(db, 0, 10)
        assert [kept.entry for kept in found] == lines
        assert [kept.at_ns for kept in found] == [0, 1, 2]
        assert audit.read(db, found[0].id, 1) == found[1:2]
    store.close()


def test_a_flood_of_refusals_pushes_out_refusals_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "issuer.db")
    with store.transaction() as db:
        audit.append(db, Entry(operation="revoke"), 0)
        for number in range(50):
            audit.append(db, Entry(operation="enroll", outcome="token"), number)
        audit.append(db, Entry(operation="revoke"), 1)

        audit.prune(db, granted_max=10, refused_max=3)

        kept = audit.read(db, 0, 100)
    assert [line.entry.outcome for line in kept] == ["granted", *["token"] * 3, "granted"]
    assert [line.at_ns for line in kept[1:4]] == [47, 48, 49]
    store.close()


def test_grants_are_bounded_too(tmp_path: Path) -> None:
    store = Store(tmp_path / "issuer.db")
    with store.transaction() as db:
        for number in range(10):
            audit.append(db, Entry(operation="renew"), number)

        audit.prune(db, granted_max=4, refused_max=4)

        assert [line.at_ns for line in audit.read(db, 0, 100)] == [6, 7, 8, 9]
    store.close()


def test_a_line_is_never_long(tmp_path: Path) -> None:
    store = Store(tmp_path / "issuer.db")
    with store.transaction() as db:
        audit.append(db, Entry(operation="enroll", detail="x" * 10_000), 0)

        (kept,) = audit.read(db, 0, 1)

    assert len(kept.entry.detail) == DETAIL_CHARS_MAX
    store.close()
