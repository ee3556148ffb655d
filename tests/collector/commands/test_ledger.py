import json
from pathlib import Path

import pytest

from certs.identity import TenantId
from certs.trust import Trust
from collector.commands import ledger
from collector.issuer.certify import begin
from collector.issuer.desk import Desk
from collector.issuer.messages import Begin
from tests.collector.shell import Sealing, Shell, a_detection, lived, until_idle, working
from vedette.cli import main as vedette


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shell, TenantId]:
    return lived(tmp_path_factory.mktemp("ledger"))


def trust_file(shell: Shell, tenant: TenantId) -> Path:
    with Desk(shell.settings.issuer, shell.clock) as desk:
        trust = Trust.parse(begin(desk, Begin(tenant=tenant)).trust)
    path = shell.folder / "trust.json"
    path.write_bytes(trust.encode())
    return path


def uids(shell: Shell, capsys: pytest.CaptureFixture[str]) -> list[str]:
    shell.run("findings", "--json")
    return [json.loads(line)["uid"] for line in capsys.readouterr().out.splitlines()]


def test_every_batch_is_listed_once_in_order_our_own_included(
    house: tuple[Shell, TenantId], capsys: pytest.CaptureFixture[str]
) -> None:
    shell, _ = house

    codes = shell.run("ledger", "ls", "--json"), shell.run("ledger", "ls")

    lines = capsys.readouterr().out.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    assert codes == (0, 0)
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    assert len({(row["agent"], row["epoch"], row["seq"]) for row in rows}) == len(rows)
    assert len({row["agent"] for row in rows}) == 2
    assert lines[len(rows)].split() == [column.upper() for column in ledger.COLUMNS]


def test_more_batches_than_a_page_are_all_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()
    host = Sealing(tenant)
    shell.append(tenant, *[host.seal() for _ in range(ledger.PAGE + 1)])

    shell.run("ledger", "ls", "--json")

    assert capsys.readouterr().out.count("\n") == ledger.PAGE + 1


def test_every_finding_can_be_proven_offline_against_what_hosts_trust(
    house: tuple[Shell, TenantId], capsys: pytest.CaptureFixture[str]
) -> None:
    shell, tenant = house
    trust = trust_file(shell, tenant)

    for number, uid in enumerate(uids(shell, capsys)):
        proof = shell.folder / f"{number}.tlog-proof"
        assert shell.run("ledger", "proof", uid, "--output", str(proof)) == 0
        assert f"vedette verify {proof}" in capsys.readouterr().err
        assert vedette(["verify", str(proof), "--trust", str(trust), "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert (answer["verified"], answer["record"]["uid"]) == (True, uid)
        assert answer["sealed_by"]["host"] == "web-1"


def test_a_proof_on_standard_output_is_the_same_file(
    house: tuple[Shell, TenantId], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    shell, _ = house
    shell.run("findings", "--json", "--limit", "1")
    uid = json.loads(capsysbinary.readouterr().out)["uid"]
    path = shell.folder / "same.tlog-proof"

    shell.run("ledger", "proof", uid, "--output", str(path))
    capsysbinary.readouterr()
    code = shell.run("ledger", "proof", uid)

    assert code == 0
    assert capsysbinary.readouterr().out == path.read_bytes()


def test_a_proof_with_one_bit_changed_proves_nothing(
    house: tuple[Shell, TenantId], capsys: pytest.CaptureFixture[str]
) -> None:
    shell, tenant = house
    trust = trust_file(shell, tenant)
    proof = shell.folder / "x.tlog-proof"
    shell.run("ledger", "proof", uids(shell, capsys)[0], "--output", str(proof))
    whole = proof.read_bytes()

    for at in range(0, len(whole), len(whole) // 40):
        proof.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert vedette(["verify", str(proof), "--trust", str(trust)]) == 1, at


def test_what_is_not_there_cannot_be_proven(
    house: tuple[Shell, TenantId], capsys: pytest.CaptureFixture[str]
) -> None:
    shell, _ = house

    code = shell.run("ledger", "proof", "01234567-89ab-8def-8123-456789abcdef")

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert "there is no finding of this uid" in err
    assert "vedette-collector findings" in err


def test_what_to_prove_has_to_be_said(
    house: tuple[Shell, TenantId], capsys: pytest.CaptureFixture[str]
) -> None:
    shell, _ = house

    code = shell.run("ledger", "proof")

    assert code == 2
    assert "name the finding to prove" in capsys.readouterr().err
    for word in ("nonsense", "", "01234567"):
        with pytest.raises(SystemExit) as caught:
            shell.run("ledger", "proof", word)
        assert caught.value.code == 2


def test_a_finding_that_no_checkpoint_covers_yet_is_said_to_be_early(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()
    shell.append(tenant, Sealing(tenant).seal(a_detection(1)))
    with working(shell, tenant) as worked:
        until_idle(worked)
    (uid,) = uids(shell, capsys)

    early = shell.run("ledger", "proof", uid)
    told = capsys.readouterr()
    with working(shell, tenant) as worked:
        worked.tick()
    later = shell.run("ledger", "proof", uid, "--output", str(tmp_path / "p"))

    assert (early, told.out) == (1, "")
    assert told.err
    assert later == 0


def test_a_tenant_without_a_ledger_has_nothing_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()
    shell.files.ledger(tenant).unlink()

    with shell.issuing():
        code = shell.run("ledger", "ls")

    assert code == 1
    assert "no batches yet" in capsys.readouterr().err
