import stat
from pathlib import Path

import msgspec
import pytest

from certs.authority import RootAuthority
from certs.identity import TenantId
from certs.request import parse_request
from collector.issuer.errors import IssuerRefused, IssuerUnready, Refusal
from collector.issuer.vault import Vault
from tests.collector.issuer.builders import DOMAIN, a_trust

NOW_NS = 1_800_000_000 * 10**9
TENANT, OTHER_TENANT = TenantId(b"t" * 16), TenantId(b"u" * 16)
ROOT = RootAuthority.create(DOMAIN, NOW_NS)


def a_vault(folder: Path) -> Vault:
    return Vault.found(folder / "issuer", DOMAIN, ROOT.certificate_pem)


def sign(vault: Vault, tenant: TenantId, owner: TenantId | None = None) -> bytes:
    request = parse_request(vault.request(owner or tenant))
    return ROOT.sign_tenant(request, tenant, NOW_NS)


def files(folder: Path) -> set[str]:
    home = folder / "issuer"
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


def test_what_the_root_signed_is_installed_and_read_again(tmp_path: Path) -> None:
    vault = a_vault(tmp_path)

    vault.install(TENANT, sign(vault, TENANT))

    again = Vault(tmp_path / "issuer", DOMAIN)
    assert again.tenant(TENANT).certificate_pem == vault.tenant(TENANT).certificate_pem
    assert again.certificates(TENANT) == (vault.tenant(TENANT).certificate_pem,)
    assert again.has_authority(TENANT)


def test_the_collectors_authority_is_installed_like_a_tenants(tmp_path: Path) -> None:
    vault = a_vault(tmp_path)

    vault.install(None, ROOT.sign_collector(parse_request(vault.request(None)), NOW_NS))

    again = Vault(tmp_path / "issuer", DOMAIN)
    assert again.collector().certificate_pem == vault.collector().certificate_pem


def test_private_keys_are_in_private_files_and_the_roots_is_in_none(tmp_path: Path) -> None:
    vault = a_vault(tmp_path)
    vault.install(TENANT, sign(vault, TENANT))
    vault.request(OTHER_TENANT)

    held = [path for path in (tmp_path / "issuer").rglob("*") if path.is_file()]

    with_key = [path for path in held if b"PRIVATE KEY" in path.read_bytes()]
    assert sorted(path.name for path in with_key) == ["authority.next.pem", "authority.pem"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in with_key)
    assert not any(ROOT.key.to_pem()[30:90] in path.read_bytes() for path in held)


def test_asking_again_gives_a_request_on_the_same_key_until_it_is_installed(tmp_path: Path) -> None:
    vault = a_vault(tmp_path)
    first = parse_request(vault.request(TENANT)).public

    assert parse_request(vault.request(TENANT)).public == first

    vault.install(TENANT, sign(vault, TENANT))
    assert parse_request(vault.request(TENANT)).public != first


def test_a_new_authority_follows_and_the_one_before_is_still_named(tmp_path: Path) -> None:
    vault = a_vault(tmp_path)
    vault.install(TENANT, sign(vault, TENANT))
    before = vault.tenant(TENANT).certificate_pem

    vault.install(TENANT, sign(vault, TENANT))

    now = vault.tenant(TENANT).certificate_pem
    assert now != before
    assert vault.certificates(TENANT) == (now, before)
    assert f"tenants/{TENANT}/authority.next.pem" not in files(tmp_path)


def test_what_the_root_signed_for_somebody_else_is_refused(tmp_path: Path) -> None:
    vault = a_vault(tmp_path)
    other_root = RootAuthority.create(DOMAIN, NOW_NS)
    request = parse_request(vault.request(TENANT))
    wrong = {
        "another tenant": ROOT.sign_tenant(request, OTHER_TENANT, NOW_NS),
        "another key": sign(vault, TENANT, OTHER_TENANT),
        "another root": other_root.sign_tenant(request, TENANT, NOW_NS),
        "another kind": ROOT.sign_collector(request, NOW_NS),
        "a root": ROOT.certificate_pem,
        "nothing": b"",
    }

    for pem in wrong.values():
        with pytest.raises(IssuerRefused) as caught:
            vault.install(TENANT, pem)
        assert caught.value.reason is Refusal.AUTHORITY

    assert not vault.has_authority(TENANT)


def test_without_an_authority_nobody_can_issue(tmp_path: Path) -> None:
    vault = a_vault(tmp_path)

    with pytest.raises(IssuerUnready):
        vault.tenant(TENANT)
    with pytest.raises(IssuerUnready):
        vault.collector()
    with pytest.raises(IssuerUnready):
        vault.trust(TENANT)


def test_an_authority_whose_file_others_can_read_is_not_used(tmp_path: Path) -> None:
    vault = a_vault(tmp_path)
    vault.install(TENANT, sign(vault, TENANT))
    (tmp_path / "issuer/tenants" / str(TENANT) / "authority.pem").chmod(0o640)

    with pytest.raises(IssuerUnready):
        Vault(tmp_path / "issuer", DOMAIN).tenant(TENANT)


def test_a_crash_between_the_two_steps_of_installing_is_healed_by_installing_again(
    tmp_path: Path,
) -> None:
    vault = a_vault(tmp_path)
    pem = sign(vault, TENANT)
    waiting = tmp_path / "issuer/tenants" / str(TENANT) / "authority.next.pem"
    key = waiting.read_bytes()
    vault.install(TENANT, pem)
    waiting.write_bytes(key)
    waiting.chmod(0o600)

    Vault(tmp_path / "issuer", DOMAIN).install(TENANT, pem)

    assert Vault(tmp_path / "issuer", DOMAIN).tenant(TENANT).certificate_pem == pem


def test_an_issuer_is_set_up_once(tmp_path: Path) -> None:
    a_vault(tmp_path)

    with pytest.raises(IssuerUnready):
        a_vault(tmp_path)


def test_where_files_cannot_be_written_nothing_is_set_up_or_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(IssuerUnready):
        Vault.found(tmp_path / "file" / "issuer", DOMAIN, ROOT.certificate_pem)

    vault = a_vault(tmp_path)
    tenants = tmp_path / "issuer/tenants"
    tenants.rmdir()
    tenants.write_bytes(b"")
    with pytest.raises(IssuerUnready):
        vault.request(TENANT)


def test_an_authority_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    vault = a_vault(tmp_path)
    vault.install(TENANT, sign(vault, TENANT))
    before = vault.tenant(TENANT).certificate_pem
    following = sign(vault, TENANT)
    (tmp_path / "issuer/tenants" / str(TENANT) / "authority.before.pem").mkdir()

    with pytest.raises(IssuerUnready):
        vault.install(TENANT, following)

    assert Vault(tmp_path / "issuer", DOMAIN).tenant(TENANT).certificate_pem == before


def test_where_nothing_was_set_up_there_is_no_issuer(tmp_path: Path) -> None:
    with pytest.raises(IssuerUnready) as caught:
        Vault(tmp_path, DOMAIN)

    assert "init" in caught.value.hint


def test_a_trust_file_is_installed_and_the_next_one_has_to_follow_it(tmp_path: Path) -> None:
    vault = a_vault(tmp_path)
    vault.install(TENANT, sign(vault, TENANT))
    first = a_trust(ROOT, TENANT)
    second = msgspec.structs.replace(first, version=2, previous=first.digest().hex())

    vault.install_trust(TENANT, first.encode())
    vault.install_trust(TENANT, first.encode())
    vault.install_trust(TENANT, second.encode())

    assert Vault(tmp_path / "issuer", DOMAIN).trust(TENANT) == second
    third = msgspec.structs.replace(second, version=3, previous=second.digest().hex())
    for wrong in (
        first,
        msgspec.structs.replace(third, previous=first.digest().hex()),
        msgspec.structs.replace(third, version=4),
        a_trust(ROOT, TENANT),
        msgspec.structs.replace(third, tenant=str(OTHER_TENANT)),
        msgspec.structs.replace(third, domain="other.example"),
        msgspec.structs.replace(
            third, x509_root=RootAuthority.create(DOMAIN, NOW_NS).certificate_pem.decode()
        ),
    ):
        with pytest.raises(IssuerRefused) as caught:
            vault.install_trust(TENANT, wrong.encode())
        assert caught.value.reason is Refusal.TRUST
    assert vault.trust(TENANT) == second


def test_what_is_no_trust_file_is_refused(tmp_path: Path) -> None:
    vault = a_vault(tmp_path)

    with pytest.raises(IssuerRefused):
        vault.install_trust(TENANT, b"{}")
