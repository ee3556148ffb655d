import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certs import profiles
from certs.authority import (
    SERVER_NAMES_MAX,
    CollectorAuthority,
    RootAuthority,
    TenantAuthority,
    server_names,
)
from certs.errors import AuthorityUnusable, IdentityReason, IdentityRefused
from certs.identity import spiffe_uri
from certs.leaf import parse_peer
from certs.p256 import P256Key
from certs.request import create_request, parse_request
from runtime.clock import NS_PER_S
from tests.certs.builders import (
    AGENT,
    DOMAIN,
    NOW_NS,
    OTHER_TENANT,
    TENANT,
    a_leaf,
    a_pki,
    a_tenant_authority,
    an_identity,
    material,
)

DAY_NS = 86_400 * NS_PER_S
PKI = a_pki()


def leaf_of(chain_pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain_pem)[0]


def test_an_agents_certificate_is_exactly_what_the_profile_says() -> None:
    key, issued = a_leaf(PKI.tenant, NOW_NS)

    leaf, authority = x509.load_pem_x509_certificates(issued.chain_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [str(name.value) for name in names.value] == [spiffe_uri(an_identity(), DOMAIN)]
    assert names.critical
    assert len(leaf.subject.rdns) == 0
    assert len(list(leaf.extensions)) == 5
    assert leaf.public_key() == key.public.native
    assert leaf.serial_number == issued.serial
    assert profiles.to_pem(authority) == PKI.tenant.certificate_pem
    leaf.verify_directly_issued_by(authority)


def test_an_agents_certificate_lives_a_day_and_began_a_minute_ago() -> None:
    _, issued = a_leaf(PKI.tenant, NOW_NS)

    assert issued.not_after_ns == NOW_NS + DAY_NS
    assert issued.not_before_ns == NOW_NS - 60 * NS_PER_S


def test_the_reader_accepts_what_the_authority_issues() -> None:
    key, issued = a_leaf(PKI.tenant, NOW_NS)

    pem = issued.chain_pem[: -len(PKI.tenant.certificate_pem)]
    peer = parse_peer(pem, DOMAIN)

    assert peer.identity == an_identity()
    assert peer.serial == issued.serial
    assert (peer.not_before_ns, peer.not_after_ns) == (issued.not_before_ns, issued.not_after_ns)
    assert peer.spki_sha256 == key.public.fingerprint
    assert peer.issuer_fingerprint == PKI.tenant_key.public.fingerprint


def test_nothing_that_a_request_asks_for_is_granted() -> None:
    key = P256Key.generate()
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "collector")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("localhost"),
                    x509.UniformResourceIdentifier(spiffe_uri(an_identity(OTHER_TENANT), DOMAIN)),
                ]
            ),
            critical=False,
        )
        .add_extension(profiles.key_usage(signs_certificates=True), critical=True)
        .sign(key.native, SHA256())
        .public_bytes(Encoding.DER)
    )

    issued = PKI.tenant.issue(parse_request(greedy), an_identity(), NOW_NS)

    pem = issued.chain_pem[: -len(PKI.tenant.certificate_pem)]
    assert parse_peer(pem, DOMAIN).identity == an_identity()
    assert b"localhost" not in leaf_of(issued.chain_pem).public_bytes(Encoding.DER)


def test_an_authority_names_no_agent_of_another_tenant() -> None:
    request = parse_request(create_request(P256Key.generate()))

    with pytest.raises(IdentityRefused) as caught:
        PKI.tenant.issue(request, an_identity(OTHER_TENANT), NOW_NS)

    assert caught.value.reason is IdentityReason.ISSUER


def test_a_leaf_never_outlives_its_authority() -> None:
    late_ns = PKI.tenant.not_after_ns - 3600 * NS_PER_S

    _, issued = a_leaf(PKI.tenant, late_ns)

    assert issued.not_after_ns == PKI.tenant.not_after_ns


@pytest.mark.parametrize("offset_ns", [0, 1, 10**18])
def test_an_expired_authority_issues_nothing(offset_ns: int) -> None:
    request = parse_request(create_request(P256Key.generate()))

    with pytest.raises(AuthorityUnusable):
        PKI.tenant.issue(request, an_identity(), PKI.tenant.not_after_ns + offset_ns)
    with pytest.raises(AuthorityUnusable):
        PKI.collector.issue(request, ["localhost"], PKI.collector.not_after_ns + offset_ns)


def test_an_authority_from_the_future_issues_nothing() -> None:
    request = parse_request(create_request(P256Key.generate()))

    with pytest.raises(AuthorityUnusable):
        PKI.tenant.issue(request, an_identity(), NOW_NS - 3600 * NS_PER_S)
    with pytest.raises(AuthorityUnusable):
        PKI.root.sign_tenant(request, TENANT, NOW_NS - 3600 * NS_PER_S)


def test_the_root_lives_ten_years_and_an_authority_ninety_days() -> None:
    root = x509.load_pem_x509_certificate(PKI.root.certificate_pem)

    assert profiles.not_after_ns(root) == NOW_NS + 3650 * DAY_NS
    assert PKI.tenant.not_after_ns == PKI.collector.not_after_ns == NOW_NS + 90 * DAY_NS


def test_a_root_comes_back_from_its_certificate_and_key() -> None:
    again = RootAuthority(DOMAIN, PKI.root.certificate_pem, PKI.root.key)

    assert a_tenant_authority(again, OTHER_TENANT, NOW_NS).tenant == OTHER_TENANT


def test_a_key_that_is_not_the_certificates_is_refused() -> None:
    other = P256Key.generate()

    with pytest.raises(AuthorityUnusable):
        RootAuthority(DOMAIN, PKI.root.certificate_pem, other)
    with pytest.raises(AuthorityUnusable):
        TenantAuthority(TENANT, DOMAIN, material(PKI.root, PKI.tenant.certificate_pem, other))
    with pytest.raises(AuthorityUnusable):
        CollectorAuthority(material(PKI.root, PKI.collector.certificate_pem, other))


def test_an_authority_of_one_tenant_is_not_loaded_for_another_or_another_domain() -> None:
    own = material(PKI.root, PKI.tenant.certificate_pem, PKI.tenant_key)

    with pytest.raises(AuthorityUnusable):
        TenantAuthority(OTHER_TENANT, DOMAIN, own)
    with pytest.raises(AuthorityUnusable):
        TenantAuthority(TENANT, "other.example", own)


def test_a_root_is_made_for_a_trust_domain_only() -> None:
    with pytest.raises(IdentityRefused):
        RootAuthority.create("not a domain", NOW_NS)


def test_a_server_certificate_has_the_names_of_the_settings() -> None:
    request = parse_request(create_request(P256Key.generate()))

    issued = PKI.collector.issue(request, ["vedette.example", "10.0.0.1", "::1"], NOW_NS)

    leaf = leaf_of(issued.chain_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["vedette.example", "10.0.0.1", "::1"]
    assert issued.not_after_ns == NOW_NS + 7 * DAY_NS


@pytest.mark.parametrize(
    "names",
    [
        [],
        [""],
        ["*.example.org"],
        ["Upper.example"],
        ["10.0.0.0/8"],
        ["10.0.0.256"],
        ["a b"],
        ["example.org."],
        ["spiffe://x/agent/y"],
        ["localhost"] * (SERVER_NAMES_MAX + 1),
    ],
    ids=repr,
)
def test_what_is_no_server_name_is_refused(names: list[str]) -> None:
    with pytest.raises(AuthorityUnusable):
        server_names(names)


def test_an_agents_id_in_a_certificate_is_the_one_decided_by_the_caller() -> None:
    _, issued = a_leaf(PKI.tenant, NOW_NS, an_identity(TENANT, AGENT))

    pem = issued.chain_pem[: -len(PKI.tenant.certificate_pem)]
    assert parse_peer(pem, DOMAIN).identity.agent == AGENT
