"""Where each tenant's files lie: one directory a tenant, one SQLite file a room.

``<root>/tenants/<uuid>/ledger.db`` is written by the gateway (and, for the collector's own
batches, by the worker); ``log.db`` and one file for each projection by the worker alone.
"""

import os
import re
from pathlib import Path

from certs.errors import IdentityRefused
from certs.identity import TenantId
from runtime.files import fsync_dir

_PROJECTION = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TAKEN = frozenset({"ledger", "log"})


class TenantFiles:
    """The files of all tenants of one collector.

    Args:
        root: the collector's state directory; exists.
    """

    def __init__(self, root: Path) -> None:
        self._tenants = root / "tenants"

    def directory(self, tenant: TenantId) -> Path:
        """Return the tenant's directory."""
        return self._tenants / str(tenant)

    def ledger(self, tenant: TenantId) -> Path:
        """Return the file of sealed batches."""
        return self.directory(tenant) / "ledger.db"

    def log(self, tenant: TenantId) -> Path:
        """Return the file of verdicts on bodies and of the transparency log."""
        return self.directory(tenant) / "log.db"

    def projection(self, tenant: TenantId, name: str) -> Path:
        """Return the file of a projection; the name comes from our own code.

        Raises:
            ValueError: not a lower-case word, or the name of another file.
        """
        if _PROJECTION.fullmatch(name) is None or name in _TAKEN:
            raise ValueError(f"{name!r} cannot name a projection")
        return self.directory(tenant) / f"{name}.db"

    def make(self, tenant: TenantId) -> None:
        """Make the tenant's directory, durably.

        Raises:
            OSError: it cannot be made.
        """
        directory = self.directory(tenant)
        if directory.is_dir():
            return
        self._tenants.mkdir(mode=0o700, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        fsync_dir(self._tenants)
        fsync_dir(self._tenants.parent)

    def tenants(self) -> list[TenantId]:
        """Return every tenant that has a ledger, in a stable order.

        Raises:
            OSError: the directory cannot be listed.
        """
        found: list[TenantId] = []
        if not self._tenants.is_dir():
            return found
        for entry in os.scandir(self._tenants):
            try:
                tenant = TenantId.parse(entry.name)
            except IdentityRefused:
                continue
            if self.ledger(tenant).is_file():
                found.append(tenant)
        return sorted(found)
