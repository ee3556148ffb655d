"""What commands share: settings, the tenant meant, rows."""

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import ClassVar

from certs.errors import IdentityRefused
from certs.identity import AgentId, TenantId
from collector.errors import IssuerUnavailable
from collector.index.queries import open_index
from collector.issuer.messages import ListTenants, Tenant, TenantPage
from collector.issuer.syncclient import ask
from collector.ledger.database import translated
from collector.ledger.files import TenantFiles
from collector.settings import DEFAULT_PATH, CollectorSettings, read_settings
from proto.rows import lines
from runtime.errors import Fault, VedetteError


class NoSuchTenant(VedetteError):
    """The tenant named is not here, or it has to be named."""

    fault: ClassVar[Fault] = Fault.OPERATOR
    exit_code: ClassVar[int] = 2


class BadUsage(VedetteError):
    """The words of a command do not fit together."""

    fault: ClassVar[Fault] = Fault.OPERATOR
    exit_code: ClassVar[int] = 2


class NothingYet(VedetteError):
    """There is nothing to read yet: the worker has not run."""

    retryable: ClassVar[bool] = True
    fault: ClassVar[Fault] = Fault.OPERATOR


def settings_of(args: argparse.Namespace) -> CollectorSettings:
    """Return the effective settings of a command.

    Raises:
        BadSettings: a key or value is not allowed (exit 4).
    """
    named: Path | None = args.config
    return read_settings(named or Path(DEFAULT_PATH), dict(os.environ), missing_ok=named is None)


def add_tenant(parser: argparse.ArgumentParser) -> None:
    """Add ``--tenant``."""
    parser.add_argument(
        "--tenant", metavar="NAME", help="name or id; may be left out while there is only one"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def count(first: int, last: int) -> Callable[[str], int]:
    """Return what reads an option as a whole number within bounds, both included."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not first <= int(text) <= last:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {first} to {last}")
        return int(text)

    return read


def identifier(text: str) -> str:
    """Return an argument that is an id as commands print it: a lower-case UUID."""
    try:
        return str(AgentId.parse(text))
    except IdentityRefused as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no id; {error.hint}") from error


def tenants_of(settings: CollectorSettings) -> tuple[Tenant, ...]:
    """Return all tenants, as the issuer knows them.

    Raises:
        IssuerUnavailable: the collector is not running.
    """
    found: tuple[Tenant, ...] = ()
    while True:
        after = found[-1].tenant if found else None
        page = ask(settings.paths.issuer_socket, ListTenants(after=after), TenantPage)
        if not page.tenants:
            return found
        found += page.tenants


def tenant_of(args: argparse.Namespace, settings: CollectorSettings) -> TenantId:
    """Return the tenant a command means.

    Names are the issuer's to know. While it does not run, a tenant that is named by its id or is
    the only one is found by its files, so that what was collected can always be read.

    Raises:
        NoSuchTenant: the name is not known, or several tenants are and none was named.
        IssuerUnavailable: the collector is not running, and the tenant was not named by its id.
    """
    named: str | None = args.tenant
    try:
        tenants = tenants_of(settings)
    except IssuerUnavailable as error:
        return _by_files(named, settings, error)
    matching = [t for t in tenants if named is None or named in {t.name, str(t.tenant)}]
    if len(matching) == 1:
        return matching[0].tenant
    if named is not None and matching:
        ids = ", ".join(str(tenant.tenant) for tenant in matching)
        raise NoSuchTenant(f"several tenants are called {named!r}", hint=f"--tenant ID: {ids}")
    names = ", ".join(sorted(tenant.name for tenant in tenants)) or "none"
    what = "name one tenant" if named is None else f"there is no tenant {named!r}"
    raise NoSuchTenant(what, hint=f"--tenant NAME; the tenants are: {names}")


def _by_files(named: str | None, settings: CollectorSettings, error: IssuerUnavailable) -> TenantId:
    found = TenantFiles(settings.paths.root).tenants()
    matching = [tenant for tenant in found if named in {None, str(tenant)}]
    if len(matching) != 1:
        raise error
    return matching[0]


@contextmanager
def projection(
    args: argparse.Namespace, settings: CollectorSettings, name: str
) -> Iterator[sqlite3.Connection]:
    """Open a projection of the tenant meant, for reading.

    Raises:
        NothingYet: it has not been made yet.
        LedgerCorrupt: its file is damaged.
        LedgerUnavailable: it cannot be read now.
        NoSuchTenant: the tenant is not known.
    """
    path = TenantFiles(settings.paths.root).projection(tenant_of(args, settings), name)
    if not path.exists():
        raise NothingYet("there is nothing to read yet", hint="is the collector's worker running?")
    with _only_sqlite(path), closing(open_index(str(path))) as db:
        yield db


@contextmanager
def _only_sqlite(path: Path) -> Iterator[None]:
    """Translate what is the file's fault; output may meet a closed pipe all the same."""
    try:
        yield
    except sqlite3.Error:
        with translated(path):
            raise


def print_rows(
    rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, as_json: bool
) -> int:
    """Print rows as JSON Lines, or as a table of some columns; return how many there were."""
    count = 0
    for line in lines(rows, columns, as_json=as_json):
        sys.stdout.write(line + "\n")
        count += 1
    return count if as_json else count - 1


def say(text: str) -> None:
    """Tell the person at the terminal something that is not a result."""
    sys.stderr.write(text + "\n")
