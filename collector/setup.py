"""``init``: everything a collector needs before it serves, made once.

The root key and the offline content keys are written to a directory that the operator names and are
nowhere else when this is done: they belong on a medium in a safe, not on the collector.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from msgspec import Struct

from certs.authority import RootAuthority
from certs.identity import TenantId
from certs.keyring import ensure_signing_key, write_key_file
from certs.trust import Trust, TrustedKey
from collector.feeds.publish import Publisher
from collector.issuer.administer import install_trust
from collector.issuer.desk import Desk
from collector.issuer.messages import InstallTrust
from collector.issuer.setup import add_tenant, set_up
from collector.ledger.files import TenantFiles
from collector.ledger.sqlite import SqliteLedger
from collector.settings import CollectorSettings
from proto.tlog import log_origin
from runtime.clock import Clock
from runtime.errors import Fault, VedetteError
from runtime.files import write_atomic


class SetUpAlready(VedetteError):
    """There is a collector in this state directory, or another one's root key on the medium."""

    fault: ClassVar[Fault] = Fault.OPERATOR


class Made(Struct, frozen=True):
    """What ``init`` made."""

    tenant: TenantId
    root_key: Path


def initialise(
    settings: CollectorSettings,
    tenant_name: str,
    offline: Path,
    clock: Clock,
    random: Callable[[int], bytes],
) -> Made:
    """Make authorities, keys, content repository, ledger and the first tenant.

    Args:
        settings: where everything goes, and under which names.
        tenant_name: what people call the first tenant.
        offline: a directory for the keys that must leave this machine.
        clock: dates certificates.
        random: n unpredictable bytes.

    Raises:
        SetUpAlready: something is there already.
        VedetteError: a room could not be set up; the message says which.
        OSError: a file cannot be made durable.
    """
    root_dir, key_path = settings.paths.root, offline / "root-key.pem"
    _refuse_a_second(settings.paths.issuer, f"a collector in {root_dir}", root_dir)
    _refuse_a_second(key_path, f"a root key in {offline}", offline)
    root = RootAuthority.create(settings.trust.domain, clock.wall_ns())
    # First: without its root key what follows would be of no use, and the medium may be full.
    offline.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_key_file(key_path, root.key.to_pem())
    root_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    for name in ("gate", "work", "tenants"):
        (root_dir / name).mkdir(mode=0o700, exist_ok=True)
    set_up(settings.issuer, root, clock)
    Path(settings.publishing.lists).mkdir(parents=True, exist_ok=True)
    tuf_root = Publisher(settings.publishing, clock).init(offline / "content")
    with Desk(settings.issuer, clock) as desk:
        tenant = add_tenant(desk, root, tenant_name, os.geteuid())
        trust = _trust(settings, tenant, root, tuf_root, (clock, random))
        install_trust(desk, InstallTrust(tenant=tenant, trust=trust.encode()), os.geteuid())
    for path in (offline / "root.pem", settings.paths.root_certificate):
        write_atomic(path, root.certificate_pem, mode=0o644)
    return Made(tenant=tenant, root_key=key_path)


def _refuse_a_second(place: Path, what: str, directory: Path) -> None:
    if os.path.lexists(place):
        raise SetUpAlready(
            f"there is {what} already",
            hint="keep it and name another directory;"
            f" where an earlier init was cut short, remove {directory} and begin again",
        )


def _trust(
    settings: CollectorSettings,
    tenant: TenantId,
    root: RootAuthority,
    tuf_root: bytes,
    sources: tuple[Clock, Callable[[int], bytes]],
) -> Trust:
    """Return what the tenant's hosts will trust; the log's name holds its ledger's generation."""
    clock, random = sources
    files = TenantFiles(settings.paths.root)
    files.make(tenant)
    ledger = SqliteLedger(files, clock, random)
    try:
        generation = ledger.generation(tenant)
    finally:
        ledger.close()
    receipt = ensure_signing_key(settings.paths.receipt_key)
    ensure_signing_key(settings.paths.own_key)
    log = ensure_signing_key(settings.paths.log_key)
    return Trust(
        domain=settings.trust.domain,
        tenant=str(tenant),
        x509_root=root.certificate_pem.decode(),
        tuf_root=tuf_root,
        receipt_keys=(TrustedKey(name="receipts", key=receipt.public.raw),),
        log_keys=(
            TrustedKey(
                name=log_origin(settings.trust.domain, tenant, generation), key=log.public.raw
            ),
        ),
    )
