from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from certs.authority import RootAuthority
from certs.identity import AgentId, PeerIdentity, TenantId
from certs.p256 import P256Key
from certs.request import create_request, parse_request
from certs.tokens import JoinToken
from certs.trust import Trust
from collector.issuer import administer
from collector.issuer.agents import State
from collector.issuer.errors import IssuerRefused, IssuerUnready, Refusal
from collector.issuer.messages import (
    CreateTenant,
    InstallAuthority,
    InstallTrust,
    IssueServer,
    ListAgents,
    ListTenants,
    MintToken,
    ReadAudit,
    Readmit,
    RequestAuthority,
    Revoke,
    Tenant,
)
from runtime.clock import NS_PER_S
from tests.collector.issuer.builders import (
    DOMAIN,
    UID,
    House,
    a_house,
    a_secret,
    a_tenant,
    a_trust,
    an_enrolled_host,
)

NOBODY = AgentId(b"n" * 16)


def operations(house: House) -> list[str]:
    page = administer.read_audit(house.desk, ReadAudit(), UID)
    return [line.entry.operation for line in page.lines]


def test_a_token_names_its_tenant_root_and_trust(tmp_path: Path) -> None:
    house = a_house(tmp_path)

    minted = administer.mint_token(house.desk, MintToken(tenant=house.tenant, life_s=60), UID)

    token = JoinToken.parse(minted.token)
    trust = Trust.parse(house.desk.vault.trust(house.tenant).encode())
    trust.check_token(token)
    root = x509.load_pem_x509_certificate(token.root_pem)
    assert root == x509.load_pem_x509_certificate(house.root.certificate_pem)
    assert token.tenant == house.tenant
    assert token.expires_ns == minted.expires_ns == house.clock.wall + 60 * NS_PER_S
    assert "join" not in repr(minted)


def test_two_tokens_have_two_secrets(tmp_path: Path) -> None:
    house = a_house(tmp_path)

    assert a_secret(house.desk, house.tenant) != a_secret(house.desk, house.tenant)


def test_a_tenant_that_is_not_set_up_gets_no_token(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    asked = administer.create_tenant(house.desk, CreateTenant(name="second"), UID)
    assert asked.owner is not None

    for tenant in (asked.owner, TenantId(bytes(16))):
        with pytest.raises(IssuerUnready):
            administer.mint_token(house.desk, MintToken(tenant=tenant), UID)


def test_tokens_that_wait_are_bounded_by_tenant(tmp_path: Path) -> None:
    house = a_house(tmp_path, tokens_open_max=2)
    other = a_tenant(house.desk, house.root, "second")
    for _ in range(2):
        a_secret(house.desk, house.tenant, 60)

    with pytest.raises(IssuerRefused) as caught:
        a_secret(house.desk, house.tenant, 60)

    assert caught.value.reason is Refusal.LIMIT
    a_secret(house.desk, other)
    house.clock.forward(60)
    a_secret(house.desk, house.tenant)


def test_agents_are_listed_by_tenant(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    other = a_tenant(house.desk, house.root, "second")
    hosts = sorted(an_enrolled_host(house).peer for _ in range(3))

    first = administer.list_agents(house.desk, ListAgents(tenant=house.tenant, limit=2), UID)
    rest = administer.list_agents(
        house.desk,
        ListAgents(tenant=house.tenant, after=first.agents[-1].identity.agent),
        UID,
    )

    assert [agent.identity for agent in first.agents + rest.agents] == hosts
    assert administer.list_agents(house.desk, ListAgents(tenant=other), UID).agents == ()


def test_cutting_off_is_written_down_once_and_keeps_its_first_reason(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)

    first = administer.revoke(house.desk, Revoke(peer=host.peer, reason="stolen"), UID)
    again = administer.revoke(house.desk, Revoke(peer=host.peer, reason="again"), UID)

    assert first == again
    assert (first.agent.state, first.agent.reason) == (State.REVOKED, "stolen")
    with house.desk.store.reading() as db:
        assert db.execute("SELECT by_uid, reason FROM revocations").fetchall() == [(UID, "stolen")]
    assert operations(house).count("revoke") == 1


def test_an_agent_that_was_cut_off_is_never_let_in_again(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    administer.revoke(house.desk, Revoke(peer=host.peer, reason="stolen"), UID)

    with pytest.raises(IssuerRefused) as caught:
        administer.readmit(house.desk, Readmit(peer=host.peer), UID)

    assert caught.value.reason is Refusal.REVOKED


def test_letting_in_an_agent_that_is_in_changes_none_of_its_certificates(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)

    standing = administer.readmit(house.desk, Readmit(peer=host.peer), UID)

    assert standing.agent.current == host.serial


def test_nobody_is_cut_off_or_let_in_by_another_tenants_id(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    other = a_tenant(house.desk, house.root, "second")
    host = an_enrolled_host(house)

    for peer in (PeerIdentity(other, host.peer.agent), PeerIdentity(house.tenant, NOBODY)):
        with pytest.raises(IssuerRefused) as caught:
            administer.revoke(house.desk, Revoke(peer=peer, reason="x"), UID)
        assert caught.value.reason is Refusal.AGENT
        with pytest.raises(IssuerRefused):
            administer.readmit(house.desk, Readmit(peer=peer), UID)


def test_a_tenant_is_set_up_in_steps_with_the_root_elsewhere(tmp_path: Path) -> None:
    house = a_house(tmp_path)

    asked = administer.create_tenant(house.desk, CreateTenant(name="second"), UID)
    tenant = asked.owner
    assert tenant is not None
    before = _described(house, tenant)
    pem = house.root.sign_tenant(parse_request(asked.request), tenant, house.clock.wall)
    administer.install_authority(
        house.desk, InstallAuthority(certificate_pem=pem, owner=tenant), UID
    )
    trust = a_trust(house.root, tenant)
    administer.install_trust(house.desk, InstallTrust(tenant=tenant, trust=trust.encode()), UID)
    after = _described(house, tenant)

    assert (before.authorities_pem, before.trust_sha256) == ((), b"")
    assert (after.authorities_pem, after.trust_sha256) == ((pem,), trust.digest())
    assert after.authority_not_after_ns == house.clock.wall + 90 * 86_400 * NS_PER_S
    assert after.revision > before.revision
    assert operations(house)[-3:] == ["create_tenant", "install_authority", "install_trust"]


def _described(house: House, tenant: TenantId) -> Tenant:
    page = administer.list_tenants(house.desk, ListTenants(), UID)
    (found,) = [each for each in page.tenants if each.tenant == tenant]
    return found


def test_a_tenant_exists_once(tmp_path: Path) -> None:
    house = a_house(tmp_path)

    with pytest.raises(IssuerRefused) as caught:
        administer.create_tenant(house.desk, CreateTenant(name="again", tenant=house.tenant), UID)

    assert caught.value.reason is Refusal.TENANT


def test_tenants_are_listed_in_pages(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    tenants = sorted([house.tenant, *(a_tenant(house.desk, house.root, "x") for _ in range(2))])

    first = administer.list_tenants(house.desk, ListTenants(limit=2), UID).tenants
    rest = administer.list_tenants(house.desk, ListTenants(after=first[-1].tenant), UID).tenants

    assert [each.tenant for each in first + rest] == tenants


def test_nothing_is_installed_for_a_tenant_that_does_not_exist(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    nobody = TenantId(bytes(16))
    trust = a_trust(house.root, nobody).encode()

    for ask in (
        lambda: administer.request_authority(house.desk, RequestAuthority(owner=nobody), UID),
        lambda: administer.install_authority(
            house.desk, InstallAuthority(certificate_pem=b"x", owner=nobody), UID
        ),
        lambda: administer.install_trust(house.desk, InstallTrust(tenant=nobody, trust=trust), UID),
    ):
        with pytest.raises(IssuerRefused) as caught:
            ask()
        assert caught.value.reason is Refusal.TENANT


def test_an_authority_is_renewed_and_agents_of_both_are_known(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    asked = administer.request_authority(house.desk, RequestAuthority(owner=house.tenant), UID)
    pem = house.root.sign_tenant(parse_request(asked.request), house.tenant, house.clock.wall)

    administer.install_authority(
        house.desk, InstallAuthority(certificate_pem=pem, owner=house.tenant), UID
    )

    described = _described(house, house.tenant)
    assert len(described.authorities_pem) == 2
    assert described.authorities_pem[0] == pem
    assert an_enrolled_host(house).serial


def test_the_collectors_own_authority_is_renewed_in_the_same_way(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    house.clock.forward(80 * 86_400)
    asked = administer.request_authority(house.desk, RequestAuthority(), UID)
    pem = house.root.sign_collector(parse_request(asked.request), house.clock.wall)

    administer.install_authority(house.desk, InstallAuthority(certificate_pem=pem), UID)

    house.clock.forward(80 * 86_400)
    key = P256Key.generate()
    issued = administer.issue_server(house.desk, IssueServer(csr=create_request(key)))
    assert issued.chain_pem.endswith(pem)


def test_a_server_certificate_has_the_names_of_the_settings(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    key = P256Key.generate()

    issued = administer.issue_server(house.desk, IssueServer(csr=create_request(key)))

    leaf = x509.load_pem_x509_certificates(issued.chain_pem)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["localhost", "127.0.0.1"]
    assert leaf.public_key() == key.public.native
    assert operations(house)[-1] == "issue_server"


def test_no_server_certificate_without_proof_of_a_key_or_with_an_expired_authority(
    tmp_path: Path,
) -> None:
    house = a_house(tmp_path)

    with pytest.raises(IssuerRefused):
        administer.issue_server(house.desk, IssueServer(csr=b"no request"))
    house.clock.forward(91 * 86_400)
    with pytest.raises(IssuerUnready):
        administer.issue_server(house.desk, IssueServer(csr=create_request(P256Key.generate())))


def test_the_audit_is_read_in_pages(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    an_enrolled_host(house)

    first = administer.read_audit(house.desk, ReadAudit(limit=2), UID).lines
    rest = administer.read_audit(house.desk, ReadAudit(after=first[-1].id), UID).lines

    found = [line.entry for line in first + rest]
    assert [entry.operation for entry in found] == [
        "create_tenant",
        "install_authority",
        "install_trust",
        "mint_token",
        "enroll",
    ]
    assert found[-1].source == "192.0.2.7"
    assert found[-1].tenant == house.tenant


def test_a_trust_that_belongs_to_another_root_is_not_installed(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    other = RootAuthority.create(DOMAIN, house.clock.wall)
    installed = house.desk.vault.trust(house.tenant)
    wrong = msgspec.structs.replace(
        installed,
        version=2,
        previous=installed.digest().hex(),
        x509_root=other.certificate_pem.decode(),
    )

    with pytest.raises(IssuerRefused) as caught:
        administer.install_trust(
            house.desk, InstallTrust(tenant=house.tenant, trust=wrong.encode()), UID
        )

    assert caught.value.reason is Refusal.TRUST
