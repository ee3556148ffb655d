import datetime as dt

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from certs import profiles
from certs.errors import AuthorityUnusable, IdentityReason, IdentityRefused
from certs.identity import spiffe_uri
from certs.leaf import LEAF_BYTES_MAX, PeerReader, parse_peer
from certs.p256 import P256Key
from runtime.clock import NS_PER_S
from tests.certs.builders import (
    AGENT,
    DOMAIN,
    NOW_NS,
    OTHER_TENANT,
    TENANT,
    Odd,
    a_leaf,
    a_pki,
    a_tenant_authority,
    an_identity,
    an_unconstrained_authority,
    sign_odd,
    subject_of,
)

# A library warns of what we refuse a line later; that it warns is not our law.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

PKI = a_pki()
ISSUER = subject_of(PKI.tenant.certificate_pem)
URI = spiffe_uri(an_identity(), DOMAIN)
R = IdentityReason


def a_reader() -> PeerReader:
    reader = PeerReader(DOMAIN, PKI.root.certificate_pem)
    reader.trust(TENANT, PKI.tenant.certificate_pem)
    return reader


def a_pem(odd: Odd) -> bytes:
    return sign_odd(odd, PKI.tenant_key, ISSUER, NOW_NS)


def usage(*allowed: str) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
    )
    flags = {name: name in allowed for name in names}
    return x509.KeyUsage(**flags, encipher_only=False, decipher_only=False)


def purposes(*oids: x509.ObjectIdentifier) -> tuple[x509.ExtendedKeyUsage, bool]:
    return (x509.ExtendedKeyUsage(list(oids)), False)


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
LEAF = x509.BasicConstraints(ca=False, path_length=None)
NAME = x509.NameAttribute(NameOID.COMMON_NAME, "agent")

ODD = {
    "two identities": (Odd(uris=(URI, URI)), R.NAMES),
    "a second tenant": (Odd(uris=(URI, spiffe_uri(an_identity(OTHER_TENANT), DOMAIN))), R.NAMES),
    "a DNS name beside": (Odd(names=(x509.DNSName("localhost"),)), R.NAMES),
    "only a DNS name": (Odd(uris=(), names=(x509.DNSName("localhost"),)), R.NAMES),
    "only an address": (Odd(uris=(), names=(x509.RFC822Name("a@b.example"),)), R.NAMES),
    "another name's URI": (
        Odd(uris=(), names=(x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),)),
        R.NAMES,
    ),
    "no name": (Odd(uris=()), R.EXTENSION),
    "a name that is not critical": (Odd(names_critical=False), R.NAMES),
    "a subject": (Odd(subject=(NAME,)), R.SUBJECT),
    "an authority": (Odd(basic=(x509.BasicConstraints(ca=True, path_length=0), True)), R.AUTHORITY),
    "limits not critical": (Odd(basic=(LEAF, False)), R.AUTHORITY),
    "no limits": (Odd(basic=None), R.EXTENSION),
    "signs certificates": (
        Odd(usage=(usage("digital_signature", "key_cert_sign"), True)),
        R.USAGE,
    ),
    "signs revocations": (Odd(usage=(usage("digital_signature", "crl_sign"), True)), R.USAGE),
    "agrees keys": (Odd(usage=(usage("digital_signature", "key_agreement"), True)), R.USAGE),
    "signs nothing": (Odd(usage=(usage("key_encipherment"), True)), R.USAGE),
    "usage not critical": (Odd(usage=(usage("digital_signature"), False)), R.USAGE),
    "no usage": (Odd(usage=None), R.EXTENSION),
    "a server": (Odd(purpose=purposes(SERVER)), R.USAGE),
    "a server too": (Odd(purpose=purposes(CLIENT, SERVER)), R.USAGE),
    "any purpose": (Odd(purpose=purposes(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)), R.USAGE),
    "signs code": (Odd(purpose=purposes(ExtendedKeyUsageOID.CODE_SIGNING)), R.USAGE),
    "no purpose": (Odd(purpose=None), R.EXTENSION),
    "an unknown critical extension": (Odd(extra=((UNKNOWN, True),)), R.EXTENSION),
    "an unknown extension": (Odd(extra=((UNKNOWN, False),)), R.EXTENSION),
    "name constraints": (
        Odd(extra=((x509.NameConstraints([x509.DNSName("a.example")], None), True),)),
        R.EXTENSION,
    ),
    "no issuer": (Odd(issuer=None), R.EXTENSION),
    "a short issuer": (
        Odd(issuer=(x509.AuthorityKeyIdentifier(bytes(20), None, None), False)),
        R.ISSUER,
    ),
    "an issuer by name": (
        Odd(issuer=(x509.AuthorityKeyIdentifier(None, [x509.DNSName("a.example")], 1), False)),
        R.ISSUER,
    ),
    "a long life": (Odd(lifetime_s=profiles.LEAF_LIFETIME_S + 1), R.LIFETIME),
    "a year": (Odd(lifetime_s=365 * 86_400), R.LIFETIME),
    "another hash": (Odd(algorithm=SHA384()), R.ALGORITHM),
    "another domain": (Odd(uris=(spiffe_uri(an_identity(), "other.example"),)), R.DOMAIN),
    "another path": (Odd(uris=(URI.replace("/agent/", "/node/"),)), R.URI),
    "a port": (Odd(uris=(URI.replace("/agent", ":443/agent"),)), R.URI),
    "no path": (Odd(uris=(URI.partition("/agent")[0],)), R.URI),
    "upper case": (Odd(uris=(URI.upper().replace("SPIFFE", "spiffe"),)), R.URI),
    "too large": (Odd(uris=(URI + "/" + "a" * LEAF_BYTES_MAX,)), R.SIZE),
    "a long URI": (Odd(uris=(URI + "/" + "a" * 600,)), R.SIZE),
}


@pytest.mark.parametrize(("odd", "reason"), ODD.values(), ids=ODD.keys())
def test_an_odd_certificate_is_refused_with_the_reason(odd: Odd, reason: IdentityReason) -> None:
    with pytest.raises(IdentityRefused) as caught:
        a_reader().read(a_pem(odd))

    assert caught.value.reason is reason


def test_the_builder_of_odd_certificates_makes_a_good_one_when_nothing_is_changed() -> None:
    assert a_reader().read(a_pem(Odd())).identity == an_identity()


def test_what_grpc_gives_is_read_as_pem_and_as_der() -> None:
    pem = a_pem(Odd())
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)

    assert a_reader().read(pem) == a_reader().read(der)


def test_a_key_on_another_curve_or_of_another_kind_is_refused() -> None:
    for key in (
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
    ):
        pem = sign_odd(Odd(), PKI.tenant_key, ISSUER, NOW_NS, key)
        with pytest.raises(IdentityRefused) as caught:
            parse_peer(pem, DOMAIN)
        assert caught.value.reason is IdentityReason.ALGORITHM


def test_a_certificate_on_an_edwards_key_is_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    now = dt.datetime.fromtimestamp(NOW_NS // NS_PER_S, tz=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ISSUER)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(hours=1))
        .sign(PKI.tenant_key.native, SHA256())
    )

    with pytest.raises(IdentityRefused) as caught:
        parse_peer(made.public_bytes(Encoding.PEM), DOMAIN)

    assert caught.value.reason is IdentityReason.ALGORITHM


def sequence(content: bytes) -> bytes:
    assert 128 <= len(content) < 65_536
    size = len(content).to_bytes(2, "big").lstrip(b"\0")
    return bytes([0x30, 0x80 | len(size)]) + size + content


def test_a_certificate_of_version_1_is_refused() -> None:
    bare = Odd(uris=(), basic=None, usage=None, purpose=None, issuer=None)
    der = x509.load_pem_x509_certificate(a_pem(bare)).public_bytes(Encoding.DER)
    version = bytes.fromhex("a003020102")
    signed = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    rest = der[der.index(signed) + len(signed) :]
    older = sequence(signed[signed.index(version) + len(version) :])

    with pytest.raises(IdentityRefused) as caught:
        parse_peer(sequence(older + rest), DOMAIN)

    assert caught.value.reason is IdentityReason.VERSION


def test_a_chain_is_not_one_certificate() -> None:
    _, issued = a_leaf(PKI.tenant, NOW_NS)

    with pytest.raises(IdentityRefused) as caught:
        a_reader().read(issued.chain_pem)

    assert caught.value.reason is IdentityReason.MALFORMED


def test_a_tenants_authority_that_names_another_tenants_agent_is_refused() -> None:
    other = a_tenant_authority(PKI.root, OTHER_TENANT, NOW_NS)
    reader = a_reader()
    reader.trust(OTHER_TENANT, other.certificate_pem)
    stolen = Odd(uris=(spiffe_uri(an_identity(OTHER_TENANT), DOMAIN),))

    with pytest.raises(IdentityRefused) as caught:
        reader.read(a_pem(stolen))

    assert caught.value.reason is IdentityReason.ISSUER


def test_an_issuer_nobody_told_us_of_is_refused() -> None:
    other = a_tenant_authority(PKI.root, OTHER_TENANT, NOW_NS)
    _, issued = a_leaf(other, NOW_NS)

    with pytest.raises(IdentityRefused) as caught:
        a_reader().read(issued.chain_pem[: -len(other.certificate_pem)])

    assert caught.value.reason is IdentityReason.ISSUER


def test_naming_the_right_issuer_without_its_signature_is_refused() -> None:
    impostor = P256Key.generate()
    named = (profiles.issuer_key(PKI.tenant_key.public), False)

    pem = sign_odd(Odd(issuer=named), impostor, ISSUER, NOW_NS)
    with pytest.raises(IdentityRefused) as caught:
        a_reader().read(pem)

    assert caught.value.reason is IdentityReason.SIGNATURE


def test_a_reader_trusts_only_what_is_a_tenants_authority() -> None:
    reader = a_reader()
    _, unlimited = an_unconstrained_authority(PKI.root, NOW_NS)

    for pem in (
        unlimited,
        PKI.collector.certificate_pem,
        PKI.root.certificate_pem,
        a_pki().tenant.certificate_pem,
    ):
        with pytest.raises(AuthorityUnusable):
            reader.trust(TENANT, pem)
    with pytest.raises(AuthorityUnusable):
        reader.trust(OTHER_TENANT, PKI.tenant.certificate_pem)


def test_a_tenant_may_have_two_authorities_while_one_follows_the_other() -> None:
    reader, successor = a_reader(), a_tenant_authority(PKI.root, TENANT, NOW_NS)
    reader.trust(TENANT, successor.certificate_pem)

    for authority in (PKI.tenant, successor):
        _, issued = a_leaf(authority, NOW_NS)
        pem = issued.chain_pem[: -len(authority.certificate_pem)]
        assert reader.read(pem).identity == an_identity()


def test_a_certificate_is_read_once_and_the_cache_is_bounded() -> None:
    reader = PeerReader(DOMAIN, PKI.root.certificate_pem, cache_entries_max=2)
    reader.trust(TENANT, PKI.tenant.certificate_pem)
    pems = [a_pem(Odd()) for _ in range(3)]

    first = reader.read(pems[0])
    second = reader.read(pems[1])
    assert reader.read(pems[0]) is first
    reader.read(pems[2])

    assert reader.read(pems[0]) is first
    assert reader.read(pems[1]) is not second


def test_a_refused_certificate_is_not_remembered_as_good() -> None:
    reader = PeerReader(DOMAIN, PKI.root.certificate_pem)
    pem = a_pem(Odd())

    with pytest.raises(IdentityRefused):
        reader.read(pem)
    reader.trust(TENANT, PKI.tenant.certificate_pem)

    assert reader.read(pem).identity.agent == AGENT


@pytest.mark.parametrize(
    ("offset_ns", "reason"),
    [(-60 * NS_PER_S - 1, R.NOT_YET_VALID), (86_400 * NS_PER_S, R.EXPIRED), (10**18, R.EXPIRED)],
)
def test_a_certificate_outside_its_time_is_refused(offset_ns: int, reason: IdentityReason) -> None:
    peer = a_reader().read(a_pem(Odd()))

    with pytest.raises(IdentityRefused) as caught:
        peer.check_time(NOW_NS + offset_ns)

    assert caught.value.reason is reason


@pytest.mark.parametrize("offset_ns", [-60 * NS_PER_S, 0, 86_400 * NS_PER_S - 1])
def test_a_certificate_holds_within_its_time(offset_ns: int) -> None:
    a_reader().read(a_pem(Odd())).check_time(NOW_NS + offset_ns)


GOOD_DER = x509.load_pem_x509_certificate(a_pem(Odd())).public_bytes(Encoding.DER)


@given(st.integers(0, len(GOOD_DER) - 1), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_changes_nothing(position: int, value: int) -> None:
    changed = bytearray(GOOD_DER)
    changed[position] = value

    try:
        peer = a_reader().read(bytes(changed))
    except IdentityRefused:
        return

    assert bytes(changed) == GOOD_DER
    assert msgspec.structs.asdict(peer)


def test_a_serial_number_that_is_not_positive_is_refused() -> None:
    serial = x509.load_der_x509_certificate(GOOD_DER).serial_number
    size = (serial.bit_length() + 8) // 8
    field = b"\x02" + bytes([size]) + serial.to_bytes(size, "big")
    assert GOOD_DER.count(field) == 1

    for value in (bytes(size), b"\xff" + bytes(size - 1)):
        der = GOOD_DER.replace(field, field[:2] + value)
        with pytest.raises(IdentityRefused) as caught:
            parse_peer(der, DOMAIN)
        assert caught.value.reason is IdentityReason.MALFORMED


@given(st.binary(max_size=400), st.sampled_from([b"", b"0\x82", b"-----BEGIN CERTIFICATE-----"]))
def test_any_bytes_are_refused(data: bytes, start: bytes) -> None:
    with pytest.raises(IdentityRefused):
        parse_peer(start + data, DOMAIN)


@given(st.integers(0, len(GOOD_DER) - 1), st.binary(max_size=40))
def test_a_certificate_with_bytes_replaced_is_refused_or_an_identity(
    position: int, data: bytes
) -> None:
    changed = GOOD_DER[:position] + data + GOOD_DER[position + len(data) :]

    try:
        peer = parse_peer(changed, DOMAIN)
    except IdentityRefused:
        return

    assert spiffe_uri(peer.identity, DOMAIN).startswith("spiffe://")
