import pytest

from runtime.errors import VedetteError
from vedette import cli


def test_every_command_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("demo", "verify"):
        with pytest.raises(SystemExit) as ended:
            cli.main([command, "--help"])

        assert ended.value.code == 0
        assert f"vedette {command}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["unknown"], ["verify"], ["demo", "--bad"]])
def test_wrong_words_are_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)

    assert ended.value.code == 2


def test_our_errors_become_words_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_args: object) -> int:
        raise VedetteError("it broke", hint="do this")

    monkeypatch.setattr("vedette.demo.command.run", fail)
    parser = cli.parser()
    monkeypatch.setattr(cli, "parser", lambda: parser)
    parser.parse_args(["demo"])
    args = parser.parse_args(["demo"])
    args.run = fail
    monkeypatch.setattr(parser, "parse_args", lambda _argv: args)

    assert cli.main(["demo"]) == 1
    assert capsys.readouterr().err == "vedette: it broke\n  do this\n"
