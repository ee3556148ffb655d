import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from certs import anchors, profiles
from certs.authority import RootAuthority
from certs.errors import AuthorityUnusable
from certs.identity import tenant_host
from certs.p256 import P256Key
from tests.certs.builders import (
    DOMAIN,
    NOW_NS,
    OTHER_TENANT,
    TENANT,
    a_leaf,
    a_pki,
    an_unconstrained_authority,
)

# A library warns of what we refuse a line later; that it warns is not our law.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

PKI = a_pki()
HOST = tenant_host(TENANT, DOMAIN)
ROOT = PKI.root.certificate_pem


def test_what_the_root_signed_is_read_back() -> None:
    tenant = anchors.load_tenant_authority(PKI.tenant.certificate_pem, HOST, ROOT)
    collector = anchors.load_collector_authority(PKI.collector.certificate_pem, ROOT)

    assert anchors.public_key(tenant) == PKI.tenant_key.public
    assert tenant.subject != collector.subject
    assert anchors.public_key(anchors.load_root(ROOT)) == PKI.root.key.public


def test_the_root_as_der_is_the_same_certificate() -> None:
    der = anchors.root_der(ROOT)

    assert x509.load_der_x509_certificate(der) == x509.load_pem_x509_certificate(ROOT)


def test_a_tenants_authority_is_no_other_tenants() -> None:
    with pytest.raises(AuthorityUnusable):
        anchors.load_tenant_authority(
            PKI.tenant.certificate_pem, tenant_host(OTHER_TENANT, DOMAIN), ROOT
        )


def test_each_kind_of_authority_is_refused_as_any_other_kind() -> None:
    _, leaf = a_leaf(PKI.tenant, NOW_NS)
    leaf_pem = leaf.chain_pem[: -len(PKI.tenant.certificate_pem)]
    tenant, collector = PKI.tenant.certificate_pem, PKI.collector.certificate_pem

    for pem in (tenant, collector, leaf_pem):
        with pytest.raises(AuthorityUnusable):
            anchors.load_root(pem)
    for pem in (ROOT, collector, leaf_pem):
        with pytest.raises(AuthorityUnusable):
            anchors.load_tenant_authority(pem, HOST, ROOT)
    for pem in (ROOT, tenant, leaf_pem):
        with pytest.raises(AuthorityUnusable):
            anchors.load_collector_authority(pem, ROOT)


def test_an_authority_under_another_root_is_refused() -> None:
    other = RootAuthority.create(DOMAIN, NOW_NS).certificate_pem

    with pytest.raises(AuthorityUnusable):
        anchors.load_tenant_authority(PKI.tenant.certificate_pem, HOST, other)
    with pytest.raises(AuthorityUnusable):
        anchors.load_collector_authority(PKI.collector.certificate_pem, other)


def test_an_authority_that_names_the_root_but_is_not_signed_by_it_is_refused() -> None:
    key, impostor = P256Key.generate(), P256Key.generate()
    root = anchors.load_root(ROOT)
    template = profiles.tenant_template(HOST, key.public)
    period = profiles.period_from(NOW_NS, 100)
    honest = profiles.sign(template, period, root.subject, impostor)
    forged = (
        x509.CertificateBuilder()
        .subject_name(honest.subject)
        .issuer_name(root.subject)
        .public_key(key.public.native)
        .serial_number(1)
        .not_valid_before(honest.not_valid_before_utc)
        .not_valid_after(honest.not_valid_after_utc)
    )
    for extension, critical in template.extensions:
        forged = forged.add_extension(extension, critical)
    forged = forged.add_extension(profiles.issuer_key(PKI.root.key.public), critical=False)

    with pytest.raises(AuthorityUnusable):
        anchors.load_tenant_authority(
            forged.sign(impostor.native, SHA256()).public_bytes(Encoding.PEM), HOST, ROOT
        )


def test_an_authority_without_our_limits_is_refused_even_if_the_root_signed_it() -> None:
    _, pem = an_unconstrained_authority(PKI.root, NOW_NS)

    with pytest.raises(AuthorityUnusable):
        anchors.load_tenant_authority(pem, HOST, ROOT)
    with pytest.raises(AuthorityUnusable):
        anchors.load_collector_authority(pem, ROOT)


def test_an_authority_on_another_curve_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    root = anchors.load_root(ROOT)
    made = (
        x509.CertificateBuilder()
        .subject_name(root.subject)
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(root.not_valid_before_utc)
        .not_valid_after(root.not_valid_after_utc)
        .sign(key, SHA256())
    )

    with pytest.raises(AuthorityUnusable):
        anchors.load_root(made.public_bytes(Encoding.PEM))


def test_an_authority_with_an_extension_twice_is_refused() -> None:
    der = anchors.root_der(ROOT)
    key_usage, basic_constraints = bytes.fromhex("0603551d0f"), bytes.fromhex("0603551d13")
    twice = x509.load_der_x509_certificate(der.replace(key_usage, basic_constraints))

    with pytest.raises(AuthorityUnusable):
        anchors.load_root(twice.public_bytes(Encoding.PEM))


def test_a_chain_and_an_oversize_file_are_not_one_authority() -> None:
    with pytest.raises(AuthorityUnusable):
        anchors.load_root(ROOT + PKI.tenant.certificate_pem)
    with pytest.raises(AuthorityUnusable):
        anchors.load_root(ROOT + b" " * anchors.CERTIFICATE_PEM_BYTES_MAX)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_refused(data: bytes, headed: bool) -> None:
    pem = b"-----BEGIN CERTIFICATE-----\n" + data if headed else data

    with pytest.raises(AuthorityUnusable):
        anchors.load_root(pem)


@given(st.integers(0, len(ROOT) - 1), st.integers(1, 255))
def test_a_damaged_root_is_refused_or_still_the_same(position: int, flip: int) -> None:
    changed = bytearray(ROOT)
    changed[position] ^= flip

    try:
        found = anchors.load_root(bytes(changed))
    except AuthorityUnusable:
        return

    assert found.public_bytes(Encoding.PEM) == ROOT
