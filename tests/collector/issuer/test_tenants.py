from pathlib import Path

from certs.identity import TenantId
from collector.issuer import tenants
from collector.issuer.store import Store, revision

A, B, C = (TenantId(bytes([n]) * 16) for n in (1, 2, 3))


def test_a_tenant_is_added_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "issuer.db")
    with store.transaction() as db:
        added = tenants.add(db, A, "first", 7)

        assert added is not None
        assert tenants.add(db, A, "again", 8) is None
        assert tenants.page(db, None, 10) == (added,)
        assert tenants.exists(db, A)
        assert not tenants.exists(db, B)
    store.close()


def test_a_change_of_a_tenant_takes_the_next_revision(tmp_path: Path) -> None:
    store = Store(tmp_path / "issuer.db")
    with store.transaction() as db:
        for tenant in (A, B):
            tenants.add(db, tenant, "x", 7)

        assert tenants.touch(db, A)
        assert not tenants.touch(db, C)

        assert [row.tenant for row in tenants.changed(db, 0, 10)] == [B, A]
        assert [row.tenant for row in tenants.changed(db, 0, 1)] == [B]
        newest = tenants.changed(db, 0, 10)[-1].revision
        assert tenants.changed(db, newest, 10) == ()
        assert revision(db) >= newest
    store.close()


def test_pages_give_every_tenant_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "issuer.db")
    with store.transaction() as db:
        for tenant in (C, A, B):
            tenants.add(db, tenant, "x", 7)

        first = tenants.page(db, None, 2)
        second = tenants.page(db, first[-1].tenant, 2)

    assert [row.tenant for row in first + second] == [A, B, C]
    store.close()
