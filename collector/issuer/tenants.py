"""The table of tenants."""

import sqlite3

import msgspec

from certs.identity import TenantId
from collector.issuer.store import next_revision


class TenantRow(msgspec.Struct, frozen=True):
    """A tenant as the database knows it."""

    tenant: TenantId
    name: str
    created_ns: int
    revision: int


def add(db: sqlite3.Connection, tenant: TenantId, name: str, now_ns: int) -> TenantRow | None:
    """Add a tenant, or return None where there is one of that id."""
    row = TenantRow(tenant, name, now_ns, next_revision(db))
    changed = db.execute(
        "INSERT INTO tenants(tenant, name, created_ns, revision) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (tenant.bytes, name, now_ns, row.revision),
    ).rowcount
    return row if changed == 1 else None


def touch(db: sqlite3.Connection, tenant: TenantId) -> bool:
    """Mark a tenant as changed and return whether there is such a tenant."""
    changed = db.execute(
        "UPDATE tenants SET revision = ? WHERE tenant = ?", (next_revision(db), tenant.bytes)
    ).rowcount
    return changed == 1


def exists(db: sqlite3.Connection, tenant: TenantId) -> bool:
    """Return whether there is such a tenant."""
    found = db.execute("SELECT 1 FROM tenants WHERE tenant = ?", (tenant.bytes,)).fetchone()
    return found is not None


def changed(db: sqlite3.Connection, after: int, limit: int) -> tuple[TenantRow, ...]:
    """Return the tenants that changed after a revision, in the order of their last change."""
    rows = db.execute(
        "SELECT tenant, name, created_ns, revision FROM tenants WHERE revision > ?"
        " ORDER BY revision LIMIT ?",
        (after, limit),
    )
    return tuple(_row(row) for row in rows)


def page(db: sqlite3.Connection, after: TenantId | None, limit: int) -> tuple[TenantRow, ...]:
    """Return tenants in the order of their ids, from after one of them."""
    rows = db.execute(
        "SELECT tenant, name, created_ns, revision FROM tenants WHERE tenant > ?"
        " ORDER BY tenant LIMIT ?",
        (after.bytes if after else b"", limit),
    )
    return tuple(_row(row) for row in rows)


def _row(row: tuple[bytes, str, int, int]) -> TenantRow:
    tenant, name, created_ns, revision = row
    return TenantRow(TenantId(tenant), name, created_ns, revision)
