"""What certificates of others say of themselves: for showing, never for trusting.

Nothing is verified here. A certificate that the library refuses is counted and passed over: files
of a host hold what was written decades ago.
"""

import re
import warnings
from itertools import islice
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.utils import CryptographyDeprecationWarning

from runtime.clock import NS_PER_S

CERTIFICATES_MAX: Final = 1000
PEM_BYTES_MAX: Final = 64 * 1024
NAMES_MAX: Final = 100

_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]{1,%d}-----END CERTIFICATE-----" % PEM_BYTES_MAX
)


class CertificateFacts(msgspec.Struct, frozen=True):
    """What a certificate says; its texts are whatever its author wrote."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    serial: int
    not_before_ns: int
    not_after_ns: int
    is_authority: bool
    sha256: bytes


def read_certificates(data: bytes) -> tuple[list[CertificateFacts], int]:
    """Return the certificates of PEM text, and how many more could not be read.

    Args:
        data: untrusted bytes; everything but certificates is passed over.
    """
    found: list[CertificateFacts] = []
    refused = 0
    with warnings.catch_warnings():
        # Of what is odd in a certificate and will be refused one day; it is only shown here.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for block in islice(_PEM.finditer(data), CERTIFICATES_MAX):
            try:
                found.append(_facts(x509.load_pem_x509_certificate(block[0])))
            except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
                refused += 1
    return found, refused


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    return CertificateFacts(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=_names(certificate),
        serial=certificate.serial_number,
        not_before_ns=int(certificate.not_valid_before_utc.timestamp()) * NS_PER_S,
        not_after_ns=int(certificate.not_valid_after_utc.timestamp()) * NS_PER_S,
        is_authority=_is_authority(certificate),
        sha256=certificate.fingerprint(SHA256()),
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    shown = [
        str(name.value)
        for name in names
        if isinstance(
            name, x509.DNSName | x509.IPAddress | x509.UniformResourceIdentifier | x509.RFC822Name
        )
    ]
    return tuple(shown[:NAMES_MAX])


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
