import base64
import os
import stat
from pathlib import Path

import pytest

from certs.keyring import load_signing_key
from certs.trust import Trust
from collector.errors import LedgerUnavailable
from collector.issuer.certify import begin
from collector.issuer.desk import Desk
from collector.issuer.messages import Begin
from collector.ledger.sqlite import SqliteLedger
from collector.setup import SetUpAlready, initialise
from proto.tlog import log_origin
from runtime.errors import Fault
from tests.collector.shell import Shell


def all_bytes(folder: Path) -> list[tuple[Path, bytes]]:
    return [(path, path.read_bytes()) for path in folder.rglob("*") if path.is_file()]


def forms_of(pem: bytes) -> list[bytes]:
    """A key as PEM text, with and without line ends, as DER and as the secret number alone."""
    text = b"".join(pem.splitlines()[1:-1])
    der = base64.b64decode(text)
    # PKCS #8 of a P-256 key: the secret is the 32-byte octet string after its header.
    at = der.index(bytes.fromhex("0201010420")) + 5
    return [pem.splitlines()[1], text, der, der[at : at + 32], der[at : at + 32].hex().encode()]


def trust_of(shell: Shell, tenant: object) -> Trust:
    with Desk(shell.settings.issuer, shell.clock) as desk:
        return Trust.parse(begin(desk, Begin(tenant=tenant)).trust)  # type: ignore[arg-type]


def test_everything_that_a_collector_needs_is_made_once(tmp_path: Path) -> None:
    shell = Shell(tmp_path)

    tenant = shell.init()

    with Desk(shell.settings.issuer, shell.clock) as desk:
        assert desk.vault.tenant(tenant).tenant == tenant
        assert desk.vault.collector().not_after_ns > shell.clock.wall
    assert shell.files.tenants() == [tenant]
    assert shell.settings.paths.root_certificate.read_bytes() == shell.root().certificate_pem
    assert Path(shell.settings.publishing.lists).is_dir()


def test_a_second_time_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.init()
    before = [all_bytes(shell.state), all_bytes(shell.offline)]

    with pytest.raises(SetUpAlready) as caught:
        initialise(shell.settings, "other", tmp_path / "elsewhere", shell.clock, os.urandom)

    assert str(shell.state) in caught.value.message
    assert caught.value.hint
    assert caught.value.fault is Fault.OPERATOR
    assert [all_bytes(shell.state), all_bytes(shell.offline)] == before
    assert not (tmp_path / "elsewhere").exists()


def test_the_root_key_is_in_the_offline_directory_and_nowhere_else(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.init()

    forms = forms_of((shell.offline / "root-key.pem").read_bytes())
    holders = {path for path, data in all_bytes(tmp_path) for form in forms if form in data}

    assert holders == {shell.offline / "root-key.pem"}


def test_the_offline_content_keys_are_nowhere_else_either(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.init()

    for role in ("root", "targets"):
        seed = load_signing_key(shell.offline / "content" / f"tuf-{role}.pem").private_bytes()
        forms = (seed, seed.hex().encode(), base64.b64encode(seed))
        assert not any(form in data for _, data in all_bytes(shell.state) for form in forms)


def test_only_their_owner_can_read_keys(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.init()

    keys = [path for path, data in all_bytes(tmp_path) if b"PRIVATE KEY-----" in data]

    assert len(keys) >= 8
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    shut = {
        stat.S_IMODE((shell.state / name).stat().st_mode) for name in ("issuer", "gate", "work")
    }
    assert shut == {0o700}
    assert stat.S_IMODE(shell.offline.stat().st_mode) == 0o700


def test_hosts_are_told_to_trust_the_receipt_the_log_and_the_content_keys(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()
    paths = shell.settings.paths

    trust = trust_of(shell, tenant)

    ledger = SqliteLedger(shell.files, shell.clock, os.urandom)
    (log,) = trust.log_keys
    assert log.name == log_origin("vedette.example", tenant, ledger.generation(tenant))
    assert log.key == load_signing_key(paths.log_key).public.raw
    assert [key.key for key in trust.receipt_keys] == [
        load_signing_key(paths.receipt_key).public.raw
    ]
    assert (paths.feeds / "content" / "metadata" / "1.root.json").read_bytes() == trust.tuf_root
    assert trust.x509_root == (shell.offline / "root.pem").read_text()
    assert (trust.tenant, trust.domain) == (str(tenant), "vedette.example")
    ledger.close()


def test_a_root_key_that_is_on_the_medium_already_is_never_replaced(tmp_path: Path) -> None:
    first, second = Shell(tmp_path / "a"), Shell(tmp_path / "b")
    first.init()
    second.offline = first.offline
    kept = (first.offline / "root-key.pem").read_bytes()

    with pytest.raises(SetUpAlready) as caught:
        second.init()

    assert str(first.offline) in caught.value.message
    assert (first.offline / "root-key.pem").read_bytes() == kept
    assert not second.settings.paths.issuer.exists()


def test_a_medium_that_cannot_be_written_leaves_no_half_collector(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.offline.write_text("a file where a directory should be")

    with pytest.raises(OSError, match="exists"):
        shell.init()

    assert not shell.settings.paths.issuer.exists()
    shell.offline.unlink()
    shell.init()


def test_what_was_cut_short_says_how_to_begin_again(tmp_path: Path) -> None:
    """A crash half-way leaves a directory that no second run mistakes for a collector."""
    shell = Shell(tmp_path)
    shell.settings.paths.issuer.mkdir(parents=True)

    with pytest.raises(SetUpAlready) as caught:
        shell.init()

    assert f"remove {shell.state}" in caught.value.hint


def test_the_ledger_of_the_first_tenant_can_be_opened_at_once(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()

    tools = shell.tools()

    assert len(tools.ledger.generation(tenant)) == 16
    with pytest.raises(LedgerUnavailable):
        tools.sources.ledger(tenant)
    tools.ledger.close()
