from pathlib import Path

import pytest

from certs.tokens import JoinToken
from collector.commands import token
from collector.issuer.settings import TOKEN_LIFE_S_MAX
from runtime.clock import NS_PER_S
from tests.collector.shell import Shell


def test_exactly_one_token_stands_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()

    with shell.issuing():
        code = shell.run("token", "--tenant", "acme")

    out, err = capsys.readouterr()
    assert code == 0
    assert (out.count("\n"), out[-1]) == (1, "\n")
    minted = JoinToken.parse(out.strip())
    assert minted.tenant == tenant
    assert minted.expires_ns == shell.clock.wall + 600 * NS_PER_S
    assert out.strip() not in err
    assert "one host and 600 s" in err


def test_every_token_is_another_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(tmp_path)
    shell.init()

    with shell.issuing():
        for _ in range(3):
            shell.run("token")

    assert len(set(capsys.readouterr().out.splitlines())) == 3


def test_its_life_can_be_chosen_within_bounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    shell.init()

    with shell.issuing():
        shell.run("token", "--life-s", str(TOKEN_LIFE_S_MAX))
    minted = JoinToken.parse(capsys.readouterr().out.strip())

    assert minted.expires_ns == shell.clock.wall + TOKEN_LIFE_S_MAX * NS_PER_S
    for bad in ("0", "-1", str(TOKEN_LIFE_S_MAX + 1), "ten"):
        with pytest.raises(SystemExit) as caught:
            shell.run("token", "--life-s", bad)
        assert caught.value.code == 2


def test_of_several_tenants_one_has_to_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    shell.init()
    shell.add_tenant("globex")

    with shell.issuing():
        codes = shell.run("token"), shell.run("token", "--tenant", "nobody")

    out, err = capsys.readouterr()
    assert (codes, out) == ((2, 2), "")
    assert "there is no tenant 'nobody'" in err
    assert "the tenants are: acme, globex" in err


def test_without_an_issuer_there_is_no_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    shell.init()

    code = shell.run("token", "--tenant", "acme")

    out, err = capsys.readouterr()
    assert (code, out) == (5, "")
    assert f"the issuer does not answer on {shell.state}/issuer.sock" in err
    assert "start the collector: vedette-collector run" in err
    assert token.__doc__
