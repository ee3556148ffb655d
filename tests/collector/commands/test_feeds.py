import json
from hashlib import sha256
from pathlib import Path

import pytest

from collector.commands import feeds
from collector.feeds.publish import Publisher
from tests.collector.shell import Shell

A_FEED = '[[feeds.sources]]\nname = "bad-files"\npath = "bad.txt"\nkind = "sha256"\n'


def a_list(shell: Shell, count: int) -> None:
    lines = "".join(f"{sha256(bytes([number])).hexdigest()}\n" for number in range(count))
    (Path(shell.settings.publishing.lists) / "bad.txt").write_text(lines)


def published(shell: Shell) -> int:
    found = Publisher(shell.settings.publishing, shell.clock).current()
    return found.indicators if found else 0


def test_what_the_feeds_hold_is_published_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path, A_FEED)
    shell.init()
    a_list(shell, 3)

    codes = shell.run("feeds", "run", "--json"), shell.run("feeds", "run")

    out, err = capsys.readouterr()
    first, *table = out.splitlines()
    report = json.loads(first)
    assert codes == (0, 0)
    assert (report["outcome"], report["indicators"]) == ("published", 3)
    assert [feed["name"] for feed in report["feeds"]] == ["bad-files"]
    assert published(shell) == 3
    assert table[0].split() == [column.upper() for column in feeds.COLUMNS]
    assert table[1].startswith("bad-files")
    assert "unchanged: version " in err


def test_a_feed_that_cannot_be_read_is_unhealthy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path, A_FEED)
    shell.init()

    code = shell.run("feeds", "run")

    assert code == 3
    assert "there is no bad.txt" in capsys.readouterr().out


def test_a_list_that_shrank_by_more_than_half_is_refused_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path, A_FEED)
    shell.init()
    a_list(shell, 100)
    shell.run("feeds", "run")
    a_list(shell, 10)

    refused, kept = shell.run("feeds", "run"), published(shell)
    told = capsys.readouterr().err
    forced = shell.run("feeds", "run", "--force")

    assert (refused, kept) == (1, 100)
    assert "what was published before stays" in told
    assert (forced, published(shell)) == (0, 10)


def test_without_a_repository_what_to_do_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = Shell(tmp_path, A_FEED).run("feeds", "run")

    out, err = capsys.readouterr()
    assert (code, out) == (4, "")
    assert "vedette-collector init" in err


def test_two_feeds_of_one_name_are_a_bad_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path, A_FEED + A_FEED)

    assert shell.run("feeds", "run") == 4
    assert "two `sources` have the same name" in capsys.readouterr().err


def test_rows_that_cannot_be_read_are_named_by_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path, A_FEED)
    shell.init()
    a_list(shell, 2)
    path = Path(shell.settings.publishing.lists) / "bad.txt"
    path.write_text(path.read_text() + "no digest\x1b[31m\n")

    code = shell.run("feeds", "run")

    err = capsys.readouterr().err
    assert code == 0
    assert "bad-files: bad.txt, line 3: " in err
    assert "\x1b" not in err
