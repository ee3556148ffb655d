from pathlib import Path

import pytest

from certs.p256 import P256Key
from collector.commands import init
from tests.collector.shell import Shell


def words(shell: Shell) -> tuple[str, ...]:
    return ("init", "--tenant", "acme", "--offline-keys", str(shell.offline))


def test_a_collector_is_made_and_the_operator_told_what_to_take_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)

    code = shell.run(*words(shell))

    out, err = capsys.readouterr()
    (tenant,) = shell.files.tenants()
    assert (code, out) == (0, "")
    assert f"tenant acme is {tenant}" in err
    assert f"take {shell.offline} off this machine" in err
    assert "vedette-collector run" in err


def test_no_key_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(tmp_path)

    shell.run(*words(shell))

    shown = "".join(capsys.readouterr())
    assert "PRIVATE" not in shown
    secret = P256Key.load(shell.offline / "root-key.pem").to_pem().decode().splitlines()[1]
    assert secret not in shown


def test_a_second_time_fails_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    shell.run(*words(shell))
    key = (shell.offline / "root-key.pem").read_bytes()
    capsys.readouterr()

    code = shell.run(*words(shell))

    err = capsys.readouterr().err
    assert code == 1
    assert err.startswith(f"vedette-collector: there is a collector in {shell.state} already\n  ")
    assert (shell.offline / "root-key.pem").read_bytes() == key


def test_a_bad_configuration_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path)
    shell.configure('[[forward]]\ntype = "jsonl"\nname = "a"\n')

    code = shell.run(*words(shell))

    assert code == 4
    assert f"{shell.config}: forward.[0].path" in capsys.readouterr().err
    assert not shell.state.exists()
    assert not shell.offline.exists()


@pytest.mark.parametrize("left_out", ["--tenant", "--offline-keys"])
def test_what_cannot_be_guessed_has_to_be_said(tmp_path: Path, left_out: str) -> None:
    shell = Shell(tmp_path)
    given = list(words(shell))
    at = given.index(left_out)

    with pytest.raises(SystemExit) as caught:
        shell.run(*given[:at], *given[at + 2 :])

    assert caught.value.code == 2
    assert not shell.state.exists()


def test_a_tenants_name_has_to_be_one(tmp_path: Path) -> None:
    """The issuer would refuse it later, when all the rest has been made."""
    for name in ("", " acme", "a\nb", "x" * (init.NAME_CHARS_MAX + 1)):
        shell = Shell(tmp_path)

        with pytest.raises(SystemExit) as caught:
            shell.run("init", "--tenant", name, "--offline-keys", str(shell.offline))

        assert caught.value.code == 2
        assert not shell.state.exists()
