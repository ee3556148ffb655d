"""Certificates of authorities, read strictly: each must be exactly what our root would have made.

An authority that is good for more than its one job (another tenant's host, a longer path, servers
and clients at once) is refused when it is loaded, whoever signed it.
"""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certs import profiles
from certs.errors import AuthorityUnusable
from certs.p256 import P256VerifyKey, is_p256

CERTIFICATE_PEM_BYTES_MAX = 8192


def load_root(pem: bytes) -> x509.Certificate:
    """Return the root certificate in ``pem``.

    Raises:
        AuthorityUnusable: malformed, or not a root of ours: self-signed, P-256, path length 1.
    """
    certificate = _load(pem)
    public = public_key(certificate)
    _check_extensions(certificate, profiles.root_template("", public), public)
    _check_issued_by(certificate, certificate)
    return certificate


def load_tenant_authority(pem: bytes, host: str, root_pem: bytes) -> x509.Certificate:
    """Return a tenant's authority, checked against the root and the tenant's host.

    Raises:
        AuthorityUnusable: malformed, not signed by the root, or good for more than the tenant.
    """
    certificate, root = _load(pem), load_root(root_pem)
    template = profiles.tenant_template(host, public_key(certificate))
    _check_extensions(certificate, template, public_key(root))
    _check_issued_by(certificate, root)
    return certificate


def load_collector_authority(pem: bytes, root_pem: bytes) -> x509.Certificate:
    """Return the authority of the collector's server certificates, checked against the root.

    Raises:
        AuthorityUnusable: malformed, not signed by the root, or good for more than servers.
    """
    certificate, root = _load(pem), load_root(root_pem)
    template = profiles.collector_template("", public_key(certificate))
    _check_extensions(certificate, template, public_key(root))
    _check_issued_by(certificate, root)
    return certificate


def root_der(pem: bytes) -> bytes:
    """Return the root certificate in ``pem`` as DER, as join tokens carry it.

    Raises:
        AuthorityUnusable: as ``load_root``.
    """
    return load_root(pem).public_bytes(Encoding.DER)


def public_key(certificate: x509.Certificate) -> P256VerifyKey:
    """Return the authority's key.

    Raises:
        AuthorityUnusable: it is not on P-256.
    """
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuthorityUnusable("the authority's key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_p256(key):
        raise AuthorityUnusable("the authority's key is not on P-256")
    return P256VerifyKey(key)


def _load(pem: bytes) -> x509.Certificate:
    if len(pem) > CERTIFICATE_PEM_BYTES_MAX:
        raise AuthorityUnusable("the authority's certificate is too large")
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise AuthorityUnusable("not a PEM certificate") from error
    if len(certificates) != 1:
        raise AuthorityUnusable("one certificate is expected, not a chain")
    return certificates[0]


def _check_extensions(
    certificate: x509.Certificate, template: profiles.Template, issuer: P256VerifyKey
) -> None:
    try:
        found = {(item.value, item.critical) for item in certificate.extensions}
    except (
        ValueError,
        TypeError,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise AuthorityUnusable("the authority's certificate is malformed") from error
    expected = {*template.extensions, (profiles.issuer_key(issuer), False)}
    if found != expected:
        raise AuthorityUnusable("the authority's certificate is good for something else")


def _check_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise AuthorityUnusable("the authority's certificate is not signed by the root") from error
