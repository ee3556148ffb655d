"""The issuer's files: authorities with their keys, and what each tenant's hosts trust.

::

    <home>/root.pem                     the X.509 root; its key is not on this machine
    <home>/collector/authority.pem      key and certificate for the collector's own servers
    <home>/tenants/<uuid>/authority.pem key and certificate for a tenant's agents
    <home>/tenants/<uuid>/trust.json    what the tenant's hosts trust
    .../authority.next.pem              a key whose certificate the root has still to sign
    .../authority.before.pem            the certificate before: its leaves may live a day more

Key and certificate stand in one file, so that one atomic replacement changes both.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from certs.anchors import load_root, root_der
from certs.authority import AuthorityMaterial, CollectorAuthority, TenantAuthority
from certs.errors import AuthorityUnusable, CertError, TrustRefused
from certs.identity import TenantId
from certs.keyring import read_key_file, write_key_file
from certs.p256 import P256Key
from certs.request import create_request
from certs.trust import Trust
from collector.issuer.errors import IssuerRefused, IssuerUnready, Refusal
from runtime.files import fsync_dir, write_atomic

_ROOT = "root.pem"
_AUTHORITY = "authority.pem"
_NEXT = "authority.next.pem"
_BEFORE = "authority.before.pem"
_TRUST = "trust.json"
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_PRIVATE_MODE = 0o700


class Vault:
    """The open files; used by one thread at a time.

    Args:
        home: the issuer's directory; only this user can enter it.
        domain: the trust domain.

    Raises:
        IssuerUnready: no issuer was set up here.
    """

    def __init__(self, home: Path, domain: str) -> None:
        self._home = home
        self._domain = domain
        try:
            self.root_pem = (home / _ROOT).read_bytes()
            load_root(self.root_pem)
        except (OSError, AuthorityUnusable) as error:
            raise IssuerUnready(
                f"no issuer is set up in {home}", hint="run: vedette-collector init"
            ) from error
        self._tenants: dict[TenantId, TenantAuthority] = {}
        self._collector: CollectorAuthority | None = None
        self._trust: dict[TenantId, Trust] = {}

    @classmethod
    def found(cls, home: Path, domain: str, root_pem: bytes) -> "Vault":
        """Set up a new home under a root.

        Raises:
            IssuerUnready: there is one already, or it cannot be made.
            AuthorityUnusable: not a root.
        """
        load_root(root_pem)
        try:
            home.mkdir(mode=_PRIVATE_MODE, parents=True, exist_ok=True)
            if (home / _ROOT).exists():
                raise IssuerUnready(
                    f"an issuer is set up in {home} already", hint="choose another directory"
                )
            for name in ("collector", "tenants"):
                (home / name).mkdir(mode=_PRIVATE_MODE, exist_ok=True)
            write_atomic(home / _ROOT, root_pem, mode=0o644)
        except OSError as error:
            raise IssuerUnready(f"cannot set up {home}: {error.strerror}") from error
        return cls(home, domain)

    def request(self, owner: TenantId | None) -> bytes:
        """Return a request (DER) for a new certificate of an authority, for the root to sign.

        The key is made once and kept until its certificate is installed, so that asking again
        before that gives a request on the same key.

        Args:
            owner: a tenant, or None for the collector's own authority.

        Raises:
            IssuerUnready: the key cannot be written.
        """
        directory = self._directory(owner)
        try:
            if not directory.is_dir():
                directory.mkdir(mode=_PRIVATE_MODE)
                fsync_dir(directory.parent)
            return create_request(P256Key.ensure(directory / _NEXT))
        except (OSError, CertError) as error:
            raise IssuerUnready(f"cannot write a key in {directory}: {error}") from error

    def install(self, owner: TenantId | None, certificate_pem: bytes) -> None:
        """Take over a certificate that the root signed on a request of ours.

        Args:
            owner: a tenant, or None for the collector's own authority.
            certificate_pem: from an operator.

        Raises:
            IssuerRefused: with reason AUTHORITY: not for our key, our root or this owner.
            IssuerUnready: it cannot be written; the authority before is in use.
        """
        directory = self._directory(owner)
        try:
            key = P256Key.load(directory / _NEXT)
            canonical_pem = self._check(
                owner, AuthorityMaterial(certificate_pem, key, self.root_pem)
            )
        except CertError as error:
            raise IssuerRefused(Refusal.AUTHORITY, error.message, hint=error.hint) from error
        try:
            if (directory / _AUTHORITY).exists():
                before = _split(read_key_file(directory / _AUTHORITY))[1]
                write_atomic(directory / _BEFORE, before, mode=0o600)
            write_key_file(directory / _AUTHORITY, key.to_pem() + canonical_pem)
            (directory / _NEXT).unlink()
            fsync_dir(directory)
        except (OSError, CertError) as error:
            raise IssuerUnready(f"cannot write the authority in {directory}: {error}") from error
        self._forget(owner)

    def tenant(self, tenant: TenantId) -> TenantAuthority:
        """Return a tenant's authority.

        Raises:
            IssuerUnready: none is installed, or its files are no good.
        """
        if tenant not in self._tenants:
            material = self._load(tenant)
            with _unready(self._directory(tenant)):
                self._tenants[tenant] = TenantAuthority(tenant, self._domain, material)
        return self._tenants[tenant]

    def collector(self) -> CollectorAuthority:
        """Return the authority of the collector's servers.

        Raises:
            IssuerUnready: none is installed, or its files are no good.
        """
        if self._collector is None:
            material = self._load(None)
            with _unready(self._directory(None)):
                self._collector = CollectorAuthority(material)
        return self._collector

    def has_authority(self, tenant: TenantId) -> bool:
        """Return whether a tenant's authority is installed."""
        return (self._directory(tenant) / _AUTHORITY).exists()

    def has_trust(self, tenant: TenantId) -> bool:
        """Return whether a tenant's trust file is installed."""
        return (self._directory(tenant) / _TRUST).exists()

    def certificates(self, tenant: TenantId) -> tuple[bytes, ...]:
        """Return the certificates (PEM) of a tenant's authorities, the one in use first.

        Raises:
            IssuerUnready: none is installed, or its files are no good.
        """
        current = self.tenant(tenant).certificate_pem
        before = self._directory(tenant) / _BEFORE
        with _unready(before):
            return (current, before.read_bytes()) if before.exists() else (current,)

    def trust(self, tenant: TenantId) -> Trust:
        """Return what a tenant's hosts trust.

        Raises:
            IssuerUnready: none is installed, or the file is no good.
        """
        if tenant not in self._trust:
            path = self._directory(tenant) / _TRUST
            with _unready(path):
                self._trust[tenant] = Trust.parse(path.read_bytes())
        return self._trust[tenant]

    def install_trust(self, tenant: TenantId, data: bytes) -> None:
        """Take over a trust file; it is the first, or names the one it follows.

        Args:
            tenant: whose hosts.
            data: from an operator.

        Raises:
            IssuerRefused: with reason TRUST: malformed, for others, or not the next version.
            IssuerUnready: it cannot be written.
        """
        path = self._directory(tenant) / _TRUST
        try:
            trust = Trust.parse(data)
        except TrustRefused as error:
            raise IssuerRefused(Refusal.TRUST, error.message, hint=error.hint) from error
        if (trust.tenant_id, trust.domain) != (tenant, self._domain):
            raise IssuerRefused(Refusal.TRUST, "the trust file is another tenant's or domain's")
        if trust.root_der != root_der(self.root_pem):
            raise IssuerRefused(Refusal.TRUST, "the trust file names another X.509 root")
        if not _follows(trust, self.trust(tenant) if path.exists() else None):
            raise IssuerRefused(
                Refusal.TRUST, "the trust file does not follow the one that is installed"
            )
        with _unready(path):
            write_atomic(path, data, mode=0o644)
        self._trust.pop(tenant, None)

    def _directory(self, owner: TenantId | None) -> Path:
        return self._home / "collector" if owner is None else self._home / "tenants" / str(owner)

    def _load(self, owner: TenantId | None) -> AuthorityMaterial:
        path = self._directory(owner) / _AUTHORITY
        with _unready(path):
            key_pem, certificate_pem = _split(read_key_file(path))
            return AuthorityMaterial(certificate_pem, P256Key.from_pem(key_pem), self.root_pem)

    def _check(self, owner: TenantId | None, material: AuthorityMaterial) -> bytes:
        if owner is None:
            return CollectorAuthority(material).certificate_pem
        return TenantAuthority(owner, self._domain, material).certificate_pem

    def _forget(self, owner: TenantId | None) -> None:
        if owner is None:
            self._collector = None
        else:
            self._tenants.pop(owner, None)


def _split(data: bytes) -> tuple[bytes, bytes]:
    key, marker, certificate = data.partition(_CERTIFICATE)
    return key, marker + certificate


def _follows(trust: Trust, installed: Trust | None) -> bool:
    if installed is None or trust == installed:
        return True
    follows = trust.previous == installed.digest().hex()
    return follows and trust.version == installed.version + 1


@contextlib.contextmanager
def _unready(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IssuerUnready(
            f"{path}: {error.strerror}", hint="install it: vedette-collector root sign"
        ) from error
    except CertError as error:
        raise IssuerUnready(f"{path}: {error.message}", hint=error.hint) from error
