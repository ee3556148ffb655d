import json
from pathlib import Path

import pytest

from collector.commands import dlq
from collector.forward.store import ForwardReader, ForwardStore, Progress
from tests.collector.builders import NOW
from tests.collector.forward.test_store import RUNNING, a_letter
from tests.collector.shell import Shell, lived

A_FILE = '[[forward]]\ntype = "jsonl"\nname = "splunk"\npath = "/x"\n'


def with_letters(folder: Path) -> tuple[Shell, Path]:
    """Two letters of a destination that is set, one of another that was taken out."""
    shell, tenant = lived(folder)
    shell.configure(A_FILE)
    path = shell.files.projection(tenant, "forward")
    store = ForwardStore(path)
    for name, uids in (("splunk", ("a", "b")), ("gone", ("c",))):
        store.begin(name, 0, NOW)
        letters = [a_letter(uid=uid, destination=name, encoded=b'{"x":1}') for uid in uids]
        store.commit(name, Progress(dead=letters), RUNNING, NOW)
    store.close()
    return shell, path


def redriven(path: Path) -> list[str]:
    with ForwardReader(path) as reader:
        names = [status.name for status in reader.statuses()]
        return [
            letter.uid for name in names for letter in reader.letters(name, 0, 99) if letter.redrive
        ]


def test_letters_of_every_destination_are_listed_one_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, _ = with_letters(tmp_path)

    codes = shell.run("dlq", "ls", "--json"), shell.run("dlq", "ls")

    lines = capsys.readouterr().out.splitlines()
    rows = [json.loads(line) for line in lines[:3]]
    assert codes == (0, 0)
    assert {(row["destination"], row["event_id"]) for row in rows} == {
        ("splunk", "a"),
        ("splunk", "b"),
        ("gone", "c"),
    }
    assert lines[3].split() == [column.upper() for column in dlq.COLUMNS]
    assert len(lines) == 7


def test_letters_of_one_destination_are_listed_even_when_it_is_set_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, _ = with_letters(tmp_path)

    shell.run("dlq", "ls", "gone", "--json")

    assert [json.loads(line)["event_id"] for line in capsys.readouterr().out.splitlines()] == ["c"]


def test_a_letter_is_shown_and_all_are_exported_with_their_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, _ = with_letters(tmp_path)

    codes = shell.run("dlq", "show", "splunk", "2"), shell.run("dlq", "export", "splunk")

    shown, *exported = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert codes == (0, 0)
    assert (shown["event_id"], shown["event"]) == ("b", '{"x":1}')
    assert [one["event_id"] for one in exported] == ["a", "b"]
    assert {one["event"] for one in exported} == {'{"x":1}'}


def test_only_the_letters_named_are_sent_again_or_all_where_none_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, path = with_letters(tmp_path)

    one = shell.run("dlq", "redrive", "splunk", "2")
    after_one = redriven(path)
    every = shell.run("dlq", "redrive", "splunk")

    out, err = capsys.readouterr()
    assert (one, every, out) == (0, 0, "")
    assert (after_one, redriven(path)) == (["b"], ["a", "b"])
    assert "2 letters are sent again" in err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["show", "splunk", "9"], "splunk has no letter 9"),
        (["show", "splunk"], "name the letters to show"),
        (["show"], "name a destination"),
        (["export"], "name a destination"),
        (["redrive"], "name a destination"),
        (["redrive", "splunk", "1", "9"], "splunk has no letter 9"),
        (["redrive", "gone"], "no destination is named gone"),
        (["ls", "nobody"], "no destination is named nobody"),
    ],
)
def test_what_is_not_there_is_said_and_nothing_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], told: str
) -> None:
    shell, path = with_letters(tmp_path)

    code = shell.run("dlq", *argv)

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert told in err
    assert redriven(path) == []


@pytest.mark.parametrize("action", ["ls", "show", "redrive", "export"])
def test_where_nothing_was_forwarded_no_file_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    shell = Shell(tmp_path, A_FILE)
    path = shell.files.projection(shell.init(), "forward")

    code = shell.run("dlq", action, "splunk")

    assert code == 1
    assert "nothing has been forwarded yet" in capsys.readouterr().err
    assert not path.exists()
