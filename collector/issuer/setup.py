"""Setting an issuer up while the root is at hand, before anything is served."""

from certs.authority import RootAuthority
from certs.identity import TenantId
from certs.request import parse_request
from collector.issuer.administer import create_tenant, install_authority, new_tenant_id
from collector.issuer.desk import DATABASE, Desk
from collector.issuer.messages import CreateTenant, InstallAuthority
from collector.issuer.settings import IssuerSettings
from collector.issuer.store import Store
from collector.issuer.vault import Vault
from runtime.clock import Clock


def set_up(settings: IssuerSettings, root: RootAuthority, clock: Clock) -> None:
    """Make the issuer's home under a root: its files, its database, the collector's authority.

    Args:
        settings: with the home to be made.
        root: with its private key, which stays with the caller.
        clock: the source of time.

    Raises:
        IssuerUnready: an issuer is set up there already, or it cannot be made.
    """
    vault = Vault.found(settings.home, settings.domain, root.certificate_pem)
    request = parse_request(vault.request(None))
    vault.install(None, root.sign_collector(request, clock.wall_ns()))
    Store(settings.home / DATABASE).close()


def add_tenant(
    desk: Desk, root: RootAuthority, name: str, uid: int, tenant: TenantId | None = None
) -> TenantId:
    """Add a tenant and install its authority in one go; its trust file is still to be installed.

    Args:
        desk: the issuer's open state; nobody else serves it now.
        root: with its private key.
        name: what people call the tenant.
        uid: who asked, for the audit.
        tenant: its id, where that was chosen before.

    Raises:
        IssuerRefused: there is a tenant of that id.
        IssuerUnready: something cannot be written.
    """
    chosen = tenant or new_tenant_id(desk)
    asked = create_tenant(desk, CreateTenant(name=name, tenant=chosen), uid)
    signed = root.sign_tenant(parse_request(asked.request), chosen, desk.clock.wall_ns())
    install_authority(desk, InstallAuthority(certificate_pem=signed, owner=chosen), uid)
    return chosen
