"""Asking for a certificate: a PKCS #10 request proves that the asker holds the key, no more.

Whatever name or extension a request carries is never looked at: the issuer decides all of it.

Source: RFC 2986; RFC 5967.
"""

import hashlib

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from certs.errors import RequestRefused
from certs.p256 import P256Key, P256VerifyKey, is_p256

REQUEST_BYTES_MAX = 4096

_PEM_BEGIN = b"-----BEGIN CERTIFICATE REQUEST-----"


class CertificateRequest(msgspec.Struct, frozen=True):
    """A request whose signature holds.

    Args:
        public: the key to certify.
        digest: SHA-256 of the request's DER: the same request again is known by it.
    """

    public: P256VerifyKey
    digest: bytes

    @property
    def spki_sha256(self) -> bytes:
        """SHA-256 of the key's SubjectPublicKeyInfo, as statements name it."""
        return self.public.fingerprint


def create_request(key: P256Key) -> bytes:
    """Return a request (DER) for a certificate on ``key``."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key.native, SHA256()).public_bytes(Encoding.DER)


def parse_request(data: bytes) -> CertificateRequest:
    """Return what counts in a request.

    Args:
        data: untrusted bytes, DER or PEM.

    Raises:
        RequestRefused: too large, malformed, not on P-256, or not signed by the key it names.
    """
    if len(data) > REQUEST_BYTES_MAX:
        raise RequestRefused(f"a certificate request has at most {REQUEST_BYTES_MAX} bytes")
    try:
        if data.startswith(_PEM_BEGIN):
            request = x509.load_pem_x509_csr(data)
        else:
            request = x509.load_der_x509_csr(data)
        key = request.public_key()
        signed_with = request.signature_hash_algorithm
        der = request.public_bytes(Encoding.DER)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise RequestRefused("not a certificate request") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_p256(key):
        raise RequestRefused("the requested key is not on P-256")
    if not isinstance(signed_with, SHA256) or not _is_signed_by(key, request):
        raise RequestRefused("the request is not signed by the key it names")
    if not der.endswith(b"\0" + request.signature):
        # A signature is whole bytes; bits called unused would spell one request in two ways.
        raise RequestRefused("not a certificate request")
    return CertificateRequest(P256VerifyKey(key), hashlib.sha256(der).digest())


def spki_hash(request: bytes) -> bytes:
    """Return SHA-256 of the SubjectPublicKeyInfo in a request.

    Raises:
        RequestRefused: as ``parse_request``.
    """
    return parse_request(request).spki_sha256


def _is_signed_by(key: ec.EllipticCurvePublicKey, request: x509.CertificateSigningRequest) -> bool:
    try:
        key.verify(request.signature, request.tbs_certrequest_bytes, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
