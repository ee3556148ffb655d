"""The reference pages say what the code says."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest
from msgspec import Meta, Struct

from agent.cli import COMMANDS as AGENT_COMMANDS
from agent.ship.metrics import METRICS as AGENT_METRICS
from collector.cli import COMMANDS as COLLECTOR_COMMANDS
from collector.console.metrics import METRICS as COLLECTOR_METRICS
from collector.console.metrics import PREFIX

ROOT = Path(__file__).parents[1]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "packaging/reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = script()


class Inner(Struct, frozen=True):
    """The inner section.

    More of it, which the page leaves out.
    """

    # How many
    # there may be.
    things_max: Annotated[int, Meta(ge=1, le=9)] = 3


class Outer(Struct, frozen=True, tag_field="type", tag="outer"):
    """The outer section."""

    # Where it is.
    path: str
    inner: Inner = Inner()


@pytest.mark.parametrize("name", ["cli.md", "configuration.md", "metrics.md", "tables.md"])
def test_a_page_says_what_the_code_says(name: str) -> None:
    written = (ROOT / REFERENCE.FOLDER / name).read_text("utf-8")

    assert written == REFERENCE.pages()[name], "run .venv/bin/python packaging/reference.py"


def test_every_command_has_a_section_with_an_example() -> None:
    text = REFERENCE.pages()["cli.md"]

    for program, commands in (
        ("vedette-agent", AGENT_COMMANDS),
        ("vedette-collector", COLLECTOR_COMMANDS),
    ):
        for command, (_, _, example) in commands.items():
            assert f"### {program} {command}\n" in text
            assert f"```sh\n{example}\n```" in text
    assert "### vedette demo\n" in text
    assert "### vedette verify\n" in text


def test_every_metric_has_a_line() -> None:
    text = REFERENCE.pages()["metrics.md"]

    for name in (*AGENT_METRICS, *(PREFIX + name for name in COLLECTOR_METRICS)):
        assert f"| `{name}` |" in text


def test_a_key_is_told_with_its_bounds_its_default_and_the_comment_above_it() -> None:
    text = "\n".join(REFERENCE.keys(Outer, "top"))

    assert "| `path` | text | required | Where it is. |" in text
    assert "### `[top.inner]`\n\nThe inner section.\n" in text
    assert "| `things_max` | integer 1 to 9 | `3` | How many there may be. |" in text


def test_check_names_a_page_that_differs_and_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(REFERENCE, "ROOT", tmp_path)
    assert REFERENCE.main([]) == 0
    assert REFERENCE.main(["--check"]) == 0
    page = tmp_path / REFERENCE.FOLDER / "cli.md"
    page.write_text("another\n")

    code = REFERENCE.main(["--check"])

    assert code == 1
    assert "cli.md" in capsys.readouterr().out
    assert page.read_text() == "another\n"
