import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import RequestRefused
from certs.p256 import P256Key
from certs.request import REQUEST_BYTES_MAX, create_request, parse_request, spki_hash

KEY = P256Key.generate()
REQUEST = create_request(KEY)

Signer = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def a_request(key: Signer, algorithm: SHA256 | SHA384 | None, common_name: str = "") -> bytes:
    name = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(name))
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


def test_a_request_proves_a_key_and_is_known_by_its_digest() -> None:
    request = parse_request(REQUEST)

    assert request.public == KEY.public
    assert request.spki_sha256 == hashlib.sha256(KEY.public.spki).digest()
    assert request.digest == hashlib.sha256(REQUEST).digest()
    assert spki_hash(REQUEST) == request.spki_sha256


def test_pem_and_der_are_the_same_request() -> None:
    pem = x509.load_der_x509_csr(REQUEST).public_bytes(Encoding.PEM)

    assert parse_request(pem) == parse_request(REQUEST)


def test_a_request_asks_for_no_name() -> None:
    assert list(x509.load_der_x509_csr(REQUEST).subject) == []
    assert list(x509.load_der_x509_csr(REQUEST).extensions) == []


def test_a_request_on_another_kind_of_key_is_refused() -> None:
    accepted = []
    for name, key, algorithm in (
        ("p384", ec.generate_private_key(ec.SECP384R1()), SHA256()),
        ("secp256k1", ec.generate_private_key(ec.SECP256K1()), SHA256()),
        ("rsa", rsa.generate_private_key(65537, 2048), SHA256()),
        ("ed25519", ed25519.Ed25519PrivateKey.generate(), None),
        ("another hash", KEY.native, SHA384()),
    ):
        try:
            parse_request(a_request(key, algorithm))
        except RequestRefused:
            continue
        accepted.append(name)

    assert accepted == []


def test_a_request_that_its_own_key_did_not_sign_is_refused() -> None:
    other = create_request(P256Key.generate())
    public = KEY.public.spki
    start = other.index(bytes.fromhex("3059301306072a8648ce3d0201"))
    swapped = other[:start] + public + other[start + len(public) :]

    with pytest.raises(RequestRefused):
        parse_request(swapped)


@given(st.integers(0, len(REQUEST) * 8 - 1))
def test_one_flipped_bit_never_gives_a_request_on_another_key(bit: int) -> None:
    changed = bytearray(REQUEST)
    changed[bit // 8] ^= 1 << bit % 8

    with pytest.raises(RequestRefused):
        parse_request(bytes(changed))


def test_a_signature_with_bits_called_unused_is_refused() -> None:
    request = create_request(KEY)
    while request[-1] & 1:
        request = create_request(KEY)
    at = request.rindex(parse_signature(request)) - 1
    changed = request[:at] + b"\1" + request[at + 1 :]

    with pytest.raises(RequestRefused):
        parse_request(changed)


def parse_signature(request: bytes) -> bytes:
    return x509.load_der_x509_csr(request).signature


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"0", b"-----BEGIN CERTIFICATE REQUEST-----"])
)
def test_any_bytes_are_refused(data: bytes, start: bytes) -> None:
    with pytest.raises(RequestRefused):
        parse_request(start + data)


@pytest.mark.parametrize("cut", [1, 10, 100, len(REQUEST) - 1])
def test_a_request_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(RequestRefused):
        parse_request(REQUEST[:cut])


def test_a_request_with_bytes_after_it_is_refused() -> None:
    with pytest.raises(RequestRefused):
        parse_request(REQUEST + b"\0")


def test_a_request_over_the_limit_is_refused() -> None:
    with pytest.raises(RequestRefused):
        parse_request(
            a_request(KEY.native, SHA256(), common_name="x" * 64) + bytes(REQUEST_BYTES_MAX)
        )
