"""Who is at the other end: an agent's certificate read into an identity, everything odd refused.

TLS has verified the chain before this runs. What TLS does not decide is decided here, in this
order: size, one well-formed X.509 v3 certificate, ECDSA P-256 with SHA-256, no subject, exactly one
name and that a URI, no authority, digital signature and TLS client only, nothing unknown, at most a
day of life, the URI's form, and that the issuer is the authority of the very tenant it names.
Whether it holds *now*, is revoked or superseded is asked anew for each message.

Source: SPIFFE X509-SVID sections 2 to 5; RFC 5280 section 4.2.
"""

import hashlib
from collections import OrderedDict

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs import anchors, profiles
from certs.errors import IdentityReason, IdentityRefused
from certs.identity import PeerIdentity, TenantId, parse_domain, parse_spiffe, tenant_host
from certs.p256 import P256VerifyKey, is_p256
from runtime.clock import NS_PER_S

LEAF_BYTES_MAX = 4096
LIFETIME_NS_MAX = (profiles.LEAF_LIFETIME_S + profiles.BACKDATE_S) * NS_PER_S
CACHE_ENTRIES_MAX = 16_384

_PEM_BEGIN = b"-----BEGIN CERTIFICATE-----"
_KNOWN = frozenset(
    {
        x509.SubjectAlternativeName.oid,
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.AuthorityKeyIdentifier.oid,
    }
)


class PeerCertificate(msgspec.Struct, frozen=True):
    """What counts in an agent's certificate."""

    identity: PeerIdentity
    serial: int
    not_before_ns: int
    not_after_ns: int
    issuer_fingerprint: bytes
    spki_sha256: bytes

    def check_time(self, now_ns: int) -> None:
        """Return if the certificate holds at ``now_ns``.

        Raises:
            IdentityRefused: it has expired, or is from the future.
        """
        if now_ns >= self.not_after_ns:
            raise IdentityRefused(IdentityReason.EXPIRED, "the certificate has expired")
        if now_ns < self.not_before_ns:
            raise IdentityRefused(IdentityReason.NOT_YET_VALID, "the certificate does not hold yet")


class PeerReader:
    """Reads agents' certificates once each, against the tenants' authorities it was told of.

    Args:
        domain: our trust domain.
        root_pem: the root above every tenant's authority.
        cache_entries_max: how many certificates are remembered; the least recent goes first.

    Raises:
        IdentityRefused: not a trust domain.
    """

    def __init__(
        self, domain: str, root_pem: bytes, cache_entries_max: int = CACHE_ENTRIES_MAX
    ) -> None:
        self._domain = parse_domain(domain)
        self._root_pem = root_pem
        self._cache_entries_max = cache_entries_max
        self._authorities: dict[bytes, tuple[TenantId, x509.Certificate]] = {}
        self._cache: OrderedDict[bytes, PeerCertificate] = OrderedDict()

    def trust(self, tenant: TenantId, authority_pem: bytes) -> None:
        """Accept certificates that this authority issues for this tenant, from now on.

        Raises:
            AuthorityUnusable: not this tenant's authority, or not signed by the root.
        """
        host = tenant_host(tenant, self._domain)
        certificate = anchors.load_tenant_authority(authority_pem, host, self._root_pem)
        fingerprint = anchors.public_key(certificate).fingerprint
        self._authorities[fingerprint] = (tenant, certificate)

    def read(self, data: bytes) -> PeerCertificate:
        """Return what a peer's certificate says; the time is not checked.

        Args:
            data: PEM (as gRPC gives it) or DER.

        Raises:
            IdentityRefused: odd in any way, or not issued by its tenant's authority.
        """
        key = hashlib.sha256(data).digest()
        known = self._cache.get(key)
        if known is not None:
            self._cache.move_to_end(key)
            return known
        peer = self._read_new(data)
        self._cache[key] = peer
        if len(self._cache) > self._cache_entries_max:
            self._cache.popitem(last=False)
        return peer

    def _read_new(self, data: bytes) -> PeerCertificate:
        certificate = _load(data)
        peer = _read(certificate, self._domain)
        tenant, authority = self._authorities.get(peer.issuer_fingerprint, (None, None))
        if authority is None:
            raise IdentityRefused(IdentityReason.ISSUER, "no tenant's authority issued this")
        if tenant != peer.identity.tenant:
            raise IdentityRefused(IdentityReason.ISSUER, "another tenant's authority issued this")
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise IdentityRefused(
                IdentityReason.SIGNATURE, "the authority did not sign this certificate"
            ) from error
        return peer


def parse_peer(data: bytes, domain: str) -> PeerCertificate:
    """Return what a certificate says of its holder, without asking who issued it.

    Args:
        data: untrusted bytes, PEM or DER.
        domain: our trust domain.

    Raises:
        IdentityRefused: odd in any way.
    """
    return _read(_load(data), domain)


def _load(data: bytes) -> x509.Certificate:
    if len(data) > LEAF_BYTES_MAX:
        raise IdentityRefused(IdentityReason.SIZE, "the certificate is too large")
    try:
        if not data.startswith(_PEM_BEGIN):
            return x509.load_der_x509_certificate(data)
        certificates = x509.load_pem_x509_certificates(data)
    except (ValueError, x509.InvalidVersion) as error:
        raise IdentityRefused(IdentityReason.MALFORMED, "not a certificate") from error
    if len(certificates) != 1:
        raise IdentityRefused(IdentityReason.MALFORMED, "more than one certificate")
    return certificates[0]


def _read(certificate: x509.Certificate, domain: str) -> PeerCertificate:
    try:
        public = _check_algorithm(certificate)
        _check_subject(certificate)
        extensions = certificate.extensions
        uri = _only_uri(extensions)
        _check_leaf(extensions)
        _check_purpose(extensions)
        _check_nothing_else(extensions)
        issuer = _issuer_fingerprint(extensions)
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise IdentityRefused(IdentityReason.MALFORMED, "the certificate is malformed") from error
    except x509.ExtensionNotFound as error:
        raise IdentityRefused(
            IdentityReason.EXTENSION, "the certificate lacks an extension every agent's has"
        ) from error
    peer = PeerCertificate(
        identity=parse_spiffe(uri, domain),
        serial=certificate.serial_number,
        not_before_ns=profiles.not_before_ns(certificate),
        not_after_ns=profiles.not_after_ns(certificate),
        issuer_fingerprint=issuer,
        spki_sha256=public.fingerprint,
    )
    if peer.serial <= 0:
        raise IdentityRefused(IdentityReason.MALFORMED, "a serial number is positive")
    if not 0 < peer.not_after_ns - peer.not_before_ns <= LIFETIME_NS_MAX:
        raise IdentityRefused(
            IdentityReason.LIFETIME, "the certificate's life is not that of an agent's"
        )
    return peer


def _check_algorithm(certificate: x509.Certificate) -> P256VerifyKey:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_p256(key):
        raise IdentityRefused(IdentityReason.ALGORITHM, "the certificate's key is not on P-256")
    if not isinstance(certificate.signature_algorithm_parameters, ec.ECDSA) or not isinstance(
        certificate.signature_hash_algorithm, SHA256
    ):
        raise IdentityRefused(
            IdentityReason.ALGORITHM, "the certificate is not signed with ECDSA and SHA-256"
        )
    return P256VerifyKey(key)


def _check_subject(certificate: x509.Certificate) -> None:
    if certificate.version is not x509.Version.v3:
        raise IdentityRefused(IdentityReason.VERSION, "the certificate is not X.509 version 3")
    if len(certificate.subject.rdns) > 0:
        raise IdentityRefused(IdentityReason.SUBJECT, "an agent's certificate has no subject")


def _only_uri(extensions: x509.Extensions) -> str:
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    if not names.critical:
        raise IdentityRefused(
            IdentityReason.NAMES, "the name of a certificate without subject must be critical"
        )
    if len(list(names.value)) != 1:
        raise IdentityRefused(IdentityReason.NAMES, "a certificate has exactly one name")
    name = next(iter(names.value))
    if not isinstance(name, x509.UniformResourceIdentifier):
        raise IdentityRefused(IdentityReason.NAMES, "an agent's one name is a URI")
    return name.value


def _check_leaf(extensions: x509.Extensions) -> None:
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    if basic.value.ca or not basic.critical:
        raise IdentityRefused(IdentityReason.AUTHORITY, "an agent's certificate is no authority")


def _check_purpose(extensions: x509.Extensions) -> None:
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    if usage.value != profiles.key_usage(signs_certificates=False) or not usage.critical:
        raise IdentityRefused(IdentityReason.USAGE, "an agent's key signs handshakes and no more")
    purpose = extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    if list(purpose.value) != [ExtendedKeyUsageOID.CLIENT_AUTH]:
        raise IdentityRefused(IdentityReason.USAGE, "an agent's key is for a TLS client")


def _check_nothing_else(extensions: x509.Extensions) -> None:
    if any(extension.oid not in _KNOWN for extension in extensions):
        raise IdentityRefused(
            IdentityReason.EXTENSION, "the certificate has an extension that no agent's has"
        )


def _issuer_fingerprint(extensions: x509.Extensions) -> bytes:
    issuer = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    fingerprint = issuer.key_identifier
    if fingerprint is None or len(fingerprint) != 32:
        raise IdentityRefused(IdentityReason.ISSUER, "the certificate does not name its issuer")
    return fingerprint
