"""Keys, authorities and odd certificates for the tests of identity."""

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs import profiles
from certs.authority import (
    AuthorityMaterial,
    CollectorAuthority,
    IssuedLeaf,
    RootAuthority,
    TenantAuthority,
)
from certs.channel import TlsIdentity
from certs.identity import AgentId, PeerIdentity, TenantId, agent_id_of, spiffe_uri
from certs.p256 import P256Key
from certs.request import create_request, parse_request

DOMAIN = "vedette.example"
TENANT = TenantId.parse("11111111-1111-4111-8111-111111111111")
OTHER_TENANT = TenantId.parse("22222222-2222-4222-8222-222222222222")
AGENT = agent_id_of(bytes(range(32)))
NOW_NS = 1_800_000_000 * 10**9

Extension = tuple[x509.ExtensionType, bool]


def an_identity(tenant: TenantId = TENANT, agent: AgentId = AGENT) -> PeerIdentity:
    return PeerIdentity(tenant, agent)


def shared_data() -> Path:
    """Where the published vectors are; skips the test where they are not."""
    found = Path(os.environ.get("VEDETTE_TEST_DATA", "../shared/data"))
    if not found.is_dir():
        pytest.skip(f"no published vectors at {found} (set VEDETTE_TEST_DATA)")
    return found


class Pki(msgspec.Struct, frozen=True):
    """A trust domain with one tenant and a collector."""

    root: RootAuthority
    tenant: TenantAuthority
    tenant_key: P256Key
    collector: CollectorAuthority
    collector_key: P256Key


def material(root: RootAuthority, certificate_pem: bytes, key: P256Key) -> AuthorityMaterial:
    return AuthorityMaterial(
        certificate_pem=certificate_pem, key=key, root_pem=root.certificate_pem
    )


def a_tenant_authority(
    root: RootAuthority, tenant: TenantId, now_ns: int, key: P256Key | None = None
) -> TenantAuthority:
    key = key or P256Key.generate()
    pem = root.sign_tenant(parse_request(create_request(key)), tenant, now_ns)
    return TenantAuthority(tenant, DOMAIN, material(root, pem, key))


def a_pki(now_ns: int = NOW_NS, tenant: TenantId = TENANT) -> Pki:
    root = RootAuthority.create(DOMAIN, now_ns)
    tenant_key, collector_key = P256Key.generate(), P256Key.generate()
    collector_pem = root.sign_collector(parse_request(create_request(collector_key)), now_ns)
    return Pki(
        root=root,
        tenant=a_tenant_authority(root, tenant, now_ns, tenant_key),
        tenant_key=tenant_key,
        collector=CollectorAuthority(material(root, collector_pem, collector_key)),
        collector_key=collector_key,
    )


def a_leaf(
    authority: TenantAuthority, now_ns: int, identity: PeerIdentity | None = None
) -> tuple[P256Key, IssuedLeaf]:
    key = P256Key.generate()
    request = parse_request(create_request(key))
    return key, authority.issue(request, identity or an_identity(authority.tenant), now_ns)


def a_server(
    authority: CollectorAuthority, now_ns: int, names: Sequence[str] = ("localhost", "127.0.0.1")
) -> TlsIdentity:
    key = P256Key.generate()
    issued = authority.issue(parse_request(create_request(key)), names, now_ns)
    return TlsIdentity(issued.chain_pem, key)


class Odd(msgspec.Struct, frozen=True, kw_only=True):
    """A leaf like the authority's own but for what a test changes."""

    uris: tuple[str, ...] = (spiffe_uri(an_identity(), DOMAIN),)
    names: tuple[x509.GeneralName, ...] = ()
    names_critical: bool = True
    subject: tuple[x509.NameAttribute[str], ...] = ()
    basic: Extension | None = (x509.BasicConstraints(ca=False, path_length=None), True)
    usage: Extension | None = (profiles.key_usage(signs_certificates=False), True)
    purpose: Extension | None = (
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
        False,
    )
    issuer: Extension | str | None = "own"
    extra: tuple[Extension, ...] = ()
    lifetime_s: int = profiles.LEAF_LIFETIME_S
    algorithm: SHA256 | SHA384 = SHA256()

    def extensions(self, signer: P256Key) -> list[Extension]:
        names = [*map(x509.UniformResourceIdentifier, self.uris), *self.names]
        found: list[Extension | None] = [
            (x509.SubjectAlternativeName(names), self.names_critical) if names else None,
            self.basic,
            self.usage,
            self.purpose,
            *self.extra,
        ]
        if isinstance(self.issuer, str):
            found.append((profiles.issuer_key(signer.public), False))
        else:
            found.append(self.issuer)
        return [extension for extension in found if extension is not None]


def sign_odd(
    odd: Odd,
    signer: P256Key,
    issuer: x509.Name,
    now_ns: int,
    key: ec.EllipticCurvePublicKey | None = None,
) -> bytes:
    """The PEM of an odd leaf, really signed."""
    now = dt.datetime.fromtimestamp(now_ns // 10**9, tz=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(list(odd.subject)))
        .issuer_name(issuer)
        .public_key(key or P256Key.generate().public.native)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(seconds=profiles.BACKDATE_S))
        .not_valid_after(now + dt.timedelta(seconds=odd.lifetime_s))
    )
    for extension, critical in odd.extensions(signer):
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer.native, odd.algorithm).public_bytes(Encoding.PEM)


def subject_of(pem: bytes) -> x509.Name:
    return x509.load_pem_x509_certificate(pem).subject


def an_unconstrained_authority(
    root: RootAuthority, now_ns: int, extensions: Sequence[Extension] = ()
) -> tuple[P256Key, bytes]:
    """An intermediate under the root that has none of the limits ours have: a root's mistake."""
    key = P256Key.generate()
    template = profiles.Template(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority without limits")]),
        key.public,
        (
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (profiles.key_usage(signs_certificates=True), True),
            (x509.SubjectKeyIdentifier(key.public.fingerprint), False),
            *extensions,
        ),
    )
    period = profiles.period_from(now_ns, profiles.AUTHORITY_LIFETIME_S)
    issuer = subject_of(root.certificate_pem)
    return key, profiles.to_pem(profiles.sign(template, period, issuer, root.key))
