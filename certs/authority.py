"""Who may sign whose certificate: an offline root, an authority for each tenant, one for servers.

The root signs two kinds of authority and is then taken away. A tenant's authority can name agents
of its own tenant and nothing else; the collector's can name servers and nothing else. Time is an
argument, and nobody issues anything that outlives its issuer.

A ``CertificateRequest`` is proof that somebody holds a key; whatever else was asked for is gone.
"""

import ipaddress
from collections.abc import Sequence
from typing import Self

import msgspec
from cryptography import x509

from certs import anchors, profiles
from certs.errors import AuthorityUnusable, IdentityReason, IdentityRefused
from certs.identity import PeerIdentity, TenantId, parse_domain, spiffe_uri, tenant_host
from certs.p256 import P256Key
from certs.request import CertificateRequest

SERVER_NAMES_MAX = 32


class IssuedLeaf(msgspec.Struct, frozen=True):
    """A leaf and the authority that signed it, as a TLS peer sends them."""

    chain_pem: bytes
    serial: int
    not_before_ns: int
    not_after_ns: int


class AuthorityMaterial(msgspec.Struct, frozen=True):
    """What an authority is loaded from: its certificate, its private key and the root above it."""

    certificate_pem: bytes
    key: P256Key
    root_pem: bytes


class RootAuthority:
    """The root of a trust domain, with its private key: offline but for the minutes it signs.

    Args:
        domain: the trust domain.
        certificate_pem: the self-signed root.
        key: its private key.

    Raises:
        AuthorityUnusable: the certificate is not a root, or not this key's.
        IdentityRefused: not a trust domain.
    """

    def __init__(self, domain: str, certificate_pem: bytes, key: P256Key) -> None:
        self._domain = parse_domain(domain)
        self._signer = _Signer(anchors.load_root(certificate_pem), key)
        self.certificate_pem = self._signer.certificate_pem
        self.key = key

    @classmethod
    def create(cls, domain: str, now_ns: int) -> Self:
        """Return a new root for a trust domain, with a new key.

        Raises:
            IdentityRefused: not a trust domain.
        """
        key = P256Key.generate()
        template = profiles.root_template(parse_domain(domain), key.public)
        period = profiles.period_from(now_ns, profiles.ROOT_LIFETIME_S)
        certificate = profiles.sign(template, period, template.subject, key)
        return cls(domain, profiles.to_pem(certificate), key)

    def sign_tenant(self, request: CertificateRequest, tenant: TenantId, now_ns: int) -> bytes:
        """Return the certificate (PEM) of a tenant's authority on the requested key.

        Raises:
            AuthorityUnusable: the root does not hold now.
        """
        template = profiles.tenant_template(tenant_host(tenant, self._domain), request.public)
        return self._sign(template, now_ns)

    def sign_collector(self, request: CertificateRequest, now_ns: int) -> bytes:
        """Return the certificate (PEM) of the collector's authority on the requested key.

        Raises:
            AuthorityUnusable: the root does not hold now.
        """
        return self._sign(profiles.collector_template(self._domain, request.public), now_ns)

    def _sign(self, template: profiles.Template, now_ns: int) -> bytes:
        period = self._signer.period(now_ns, profiles.AUTHORITY_LIFETIME_S)
        return profiles.to_pem(self._signer.sign(template, period))


class TenantAuthority:
    """Issues a tenant's agents their certificates.

    Args:
        tenant: whose agents.
        domain: the trust domain.
        material: certificate, key and root.

    Raises:
        AuthorityUnusable: the material does not fit together, or is not this tenant's.
    """

    def __init__(self, tenant: TenantId, domain: str, material: AuthorityMaterial) -> None:
        certificate = anchors.load_tenant_authority(
            material.certificate_pem, tenant_host(tenant, domain), material.root_pem
        )
        self._signer = _Signer(certificate, material.key)
        self._domain = domain
        self.tenant = tenant
        self.certificate_pem = self._signer.certificate_pem
        self.not_after_ns = self._signer.not_after_ns

    def issue(self, request: CertificateRequest, identity: PeerIdentity, now_ns: int) -> IssuedLeaf:
        """Return a certificate of 24 hours for an agent.

        Args:
            request: whose key to certify.
            identity: decided by the caller, never by the request.
            now_ns: the time of issue.

        Raises:
            AuthorityUnusable: the authority does not hold now.
            IdentityRefused: the identity is another tenant's.
        """
        if identity.tenant != self.tenant:
            raise IdentityRefused(
                IdentityReason.ISSUER, "a tenant's authority names no agent of another tenant"
            )
        template = profiles.agent_template(spiffe_uri(identity, self._domain), request.public)
        return self._signer.issue(template, self._signer.period(now_ns, profiles.LEAF_LIFETIME_S))


class CollectorAuthority:
    """Issues the collector's own server certificates.

    Args:
        material: certificate, key and root.

    Raises:
        AuthorityUnusable: the material does not fit together, or is not the collector's.
    """

    def __init__(self, material: AuthorityMaterial) -> None:
        certificate = anchors.load_collector_authority(material.certificate_pem, material.root_pem)
        self._signer = _Signer(certificate, material.key)
        self.certificate_pem = self._signer.certificate_pem
        self.not_after_ns = self._signer.not_after_ns

    def issue(self, request: CertificateRequest, names: Sequence[str], now_ns: int) -> IssuedLeaf:
        """Return a server certificate of 7 days.

        Args:
            request: whose key to certify.
            names: DNS names and IP addresses, from the collector's settings.
            now_ns: the time of issue.

        Raises:
            AuthorityUnusable: the authority does not hold now, or a name is none.
        """
        template = profiles.server_template(server_names(names), request.public)
        return self._signer.issue(template, self._signer.period(now_ns, profiles.SERVER_LIFETIME_S))


def server_names(names: Sequence[str]) -> tuple[x509.GeneralName, ...]:
    """Return what stands in a server certificate for these DNS names and IP addresses.

    Raises:
        AuthorityUnusable: none, too many, a wildcard, or neither a name nor an address.
    """
    if not 0 < len(names) <= SERVER_NAMES_MAX:
        raise AuthorityUnusable(f"a server certificate has 1 to {SERVER_NAMES_MAX} names")
    return tuple(_server_name(name) for name in names)


def _server_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(parse_domain(name))
    except IdentityRefused as error:
        raise AuthorityUnusable(
            f"cannot certify {name!r} as a server",
            hint="give lower-case DNS names without wildcard, or IP addresses",
        ) from error


class _Signer:
    """An authority's certificate and its key, which fit each other."""

    def __init__(self, certificate: x509.Certificate, key: P256Key) -> None:
        if anchors.public_key(certificate) != key.public:
            raise AuthorityUnusable(
                "the authority's key is not the one its certificate names",
                hint="restore the key and the certificate from the same backup",
            )
        self._certificate = certificate
        self._key = key
        self.certificate_pem = profiles.to_pem(certificate)
        self.not_after_ns = profiles.not_after_ns(certificate)

    def period(self, now_ns: int, lifetime_s: int) -> profiles.Period:
        if not profiles.not_before_ns(self._certificate) <= now_ns < self.not_after_ns:
            raise AuthorityUnusable(
                "the authority's certificate does not hold now",
                hint="check this machine's clock; else have the offline root sign a new one",
            )
        return profiles.period_from(now_ns, lifetime_s).within(self.not_after_ns)

    def sign(self, template: profiles.Template, period: profiles.Period) -> x509.Certificate:
        return profiles.sign(template, period, self._certificate.subject, self._key)

    def issue(self, template: profiles.Template, period: profiles.Period) -> IssuedLeaf:
        leaf = self.sign(template, period)
        return IssuedLeaf(
            chain_pem=profiles.to_pem(leaf) + self.certificate_pem,
            serial=leaf.serial_number,
            not_before_ns=period.not_before_ns,
            not_after_ns=period.not_after_ns,
        )
