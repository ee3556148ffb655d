"""What stands in each kind of certificate we make: one table, and one way to sign it.

| kind      | lives    | CA, path | purpose    | names                                           |
|-----------|----------|----------|------------|-------------------------------------------------|
| root      | 10 years | yes, 1   | any        | a subject                                       |
| tenant    | 90 days  | yes, 0   | clientAuth | URIs with the tenant's host; no DNS name, no IP |
| collector | 90 days  | yes, 0   | serverAuth | a subject                                       |
| agent     | 24 hours | no       | clientAuth | one URI, empty subject                          |
| server    | 7 days   | no       | serverAuth | DNS names and IP addresses, empty subject       |

The purpose stands in the intermediate as well as in the leaf: a verifier in either library refuses
a server certificate from a tenant's authority and an agent's from the collector's. A key identifier
is the SHA-256 of the public key, so an issuer is known by the hash of its key.

Source: RFC 5280 sections 4.1 and 4.2; RFC 7093 section 2 (method 4); SPIFFE X509-SVID section 4.
"""

import datetime as dt
import ipaddress

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.p256 import P256Key, P256VerifyKey
from runtime.clock import NS_PER_S

DAY_S = 86_400
ROOT_LIFETIME_S = 3650 * DAY_S
AUTHORITY_LIFETIME_S = 90 * DAY_S
LEAF_LIFETIME_S = DAY_S
SERVER_LIFETIME_S = 7 * DAY_S
# A host whose clock is a little behind must not see a certificate from its future.
BACKDATE_S = 60

_NO_DNS_NAME = x509.DNSName("")
_NO_IPV4 = x509.IPAddress(ipaddress.ip_network("0.0.0.0/0"))
_NO_IPV6 = x509.IPAddress(ipaddress.ip_network("::/0"))


class Period(msgspec.Struct, frozen=True):
    """When a certificate holds, in whole seconds: X.509 knows no finer time."""

    not_before_ns: int
    not_after_ns: int

    def within(self, not_after_ns_max: int) -> "Period":
        """Return the period cut so that it does not outlive its issuer."""
        return Period(self.not_before_ns, min(self.not_after_ns, not_after_ns_max))


class Template(msgspec.Struct, frozen=True):
    """Everything in a certificate but its issuer, period and serial number."""

    subject: x509.Name
    public: P256VerifyKey
    extensions: tuple[tuple[x509.ExtensionType, bool], ...]


def period_from(now_ns: int, lifetime_s: int) -> Period:
    """Return the period of a certificate made now, backdated by a minute."""
    start_s = now_ns // NS_PER_S - BACKDATE_S
    return Period(start_s * NS_PER_S, (start_s + BACKDATE_S + lifetime_s) * NS_PER_S)


def root_template(domain: str, public: P256VerifyKey) -> Template:
    """Return what stands in the root of a trust domain."""
    return Template(
        _name(f"Vedette root for {domain}"),
        public,
        (*_authority(1), (_subject_key(public), False)),
    )


def tenant_template(host: str, public: P256VerifyKey) -> Template:
    """Return what stands in a tenant's authority: it can name agents of this host part only."""
    constraints = x509.NameConstraints(
        permitted_subtrees=[x509.UniformResourceIdentifier(host)],
        excluded_subtrees=[_NO_DNS_NAME, _NO_IPV4, _NO_IPV6],
    )
    return Template(
        _name(f"Vedette tenant {host[:36]}"),
        public,
        (
            *_authority(0),
            (constraints, True),
            (_purpose(ExtendedKeyUsageOID.CLIENT_AUTH), False),
            (_subject_key(public), False),
        ),
    )


def collector_template(domain: str, public: P256VerifyKey) -> Template:
    """Return what stands in the authority of the collector's own server certificates."""
    return Template(
        _name(f"Vedette collector for {domain}"),
        public,
        (
            *_authority(0),
            (_purpose(ExtendedKeyUsageOID.SERVER_AUTH), False),
            (_subject_key(public), False),
        ),
    )


def agent_template(uri: str, public: P256VerifyKey) -> Template:
    """Return what stands in an agent's leaf: one URI, no subject, good for a TLS client only."""
    return Template(
        x509.Name([]),
        public,
        (
            (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), True),
            *_leaf(ExtendedKeyUsageOID.CLIENT_AUTH),
        ),
    )


def server_template(names: tuple[x509.GeneralName, ...], public: P256VerifyKey) -> Template:
    """Return what stands in a server's leaf: its DNS names and addresses."""
    return Template(
        x509.Name([]),
        public,
        (
            (x509.SubjectAlternativeName(names), True),
            *_leaf(ExtendedKeyUsageOID.SERVER_AUTH),
        ),
    )


def sign(template: Template, period: Period, issuer: x509.Name, key: P256Key) -> x509.Certificate:
    """Return the certificate, with a random serial number of 159 bits."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(issuer)
        .public_key(template.public.native)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_instant(period.not_before_ns))
        .not_valid_after(_instant(period.not_after_ns))
    )
    for extension, critical in template.extensions:
        builder = builder.add_extension(extension, critical)
    return builder.add_extension(issuer_key(key.public), critical=False).sign(key.native, SHA256())


def issuer_key(issuer: P256VerifyKey) -> x509.AuthorityKeyIdentifier:
    """Return the extension that names the key a certificate is signed with."""
    return x509.AuthorityKeyIdentifier(issuer.fingerprint, None, None)


def to_pem(certificate: x509.Certificate) -> bytes:
    """Return the certificate as one PEM block."""
    return certificate.public_bytes(Encoding.PEM)


def not_after_ns(certificate: x509.Certificate) -> int:
    """Return the first instant at which the certificate no longer holds, in ns UTC."""
    return int(certificate.not_valid_after_utc.timestamp()) * NS_PER_S


def not_before_ns(certificate: x509.Certificate) -> int:
    """Return the first instant at which the certificate holds, in ns UTC."""
    return int(certificate.not_valid_before_utc.timestamp()) * NS_PER_S


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Return the key usage of an authority, or of a leaf."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(path_length: int) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return (
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (key_usage(signs_certificates=True), True),
    )


def _leaf(purpose: x509.ObjectIdentifier) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(signs_certificates=False), True),
        (_purpose(purpose), False),
    )


def _purpose(purpose: x509.ObjectIdentifier) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([purpose])


def _subject_key(public: P256VerifyKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier(public.fingerprint)


def _name(common: str) -> x509.Name:
    # A common name has at most 64 characters (RFC 5280 upper bound), and identifies nothing here.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _instant(at_ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ns // NS_PER_S, tz=dt.UTC)
