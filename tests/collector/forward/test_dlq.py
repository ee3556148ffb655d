"""Dead letters can be listed, shown, handed over and sent again."""

import json
from pathlib import Path

import pytest

from collector.errors import LedgerUnavailable
from collector.forward import dlq
from collector.forward.errors import NoSuchLetter
from collector.forward.store import ForwardStore, Progress
from tests.collector.builders import NOW
from tests.collector.forward.test_store import RUNNING, a_letter, a_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "forward.db"


def with_letters(path: Path, count: int) -> ForwardStore:
    store = a_store(path)
    letters = [a_letter(uid=f"uid-{number}", encoded=b'{"x":1}') for number in range(count)]
    store.commit("splunk", Progress(dead=letters), RUNNING, NOW)
    return store


def test_every_letter_is_listed_however_many_there_are(path: Path) -> None:
    with_letters(path, 1203)

    listed = list(dlq.ls(path, "splunk"))

    assert [letter.event_id for letter in listed] == [f"uid-{number}" for number in range(1203)]
    assert listed[0].event is None
    assert list(dlq.ls(path, "other")) == []


def test_a_letter_is_shown_with_its_event(path: Path) -> None:
    with_letters(path, 3)

    letter = dlq.show(path, "splunk", 2)

    assert (letter.event_id, letter.event, letter.reason) == ("uid-1", '{"x":1}', "bad")


@pytest.mark.parametrize("id_", [0, 4, -1])
def test_a_letter_that_is_not_there_is_not_shown(path: Path, id_: int) -> None:
    with_letters(path, 3)

    with pytest.raises(NoSuchLetter):
        dlq.show(path, "splunk", id_)


def test_an_export_is_json_lines(path: Path) -> None:
    with_letters(path, 3)

    lines = b"".join(dlq.export(path, "splunk")).splitlines()

    assert [json.loads(line)["event_id"] for line in lines] == ["uid-0", "uid-1", "uid-2"]
    assert json.loads(lines[0])["event"] == '{"x":1}'


def test_letters_are_marked_beside_the_running_daemon(path: Path) -> None:
    store = with_letters(path, 3)

    some = dlq.redrive(path, "splunk", [1, 3])
    marked = [letter.id for letter in store.to_redrive("splunk", 9)]
    everything = dlq.redrive(path, "splunk")

    assert (some, marked, everything) == (2, [1, 3], 3)
    assert len(store.to_redrive("splunk", 2)) == 2


def test_nothing_is_marked_when_one_letter_is_not_there(path: Path) -> None:
    store = with_letters(path, 3)

    with pytest.raises(NoSuchLetter):
        dlq.redrive(path, "splunk", [1, 99])

    assert store.to_redrive("splunk", 9) == []


def test_letters_of_another_destination_are_not_marked(path: Path) -> None:
    store = with_letters(path, 3)

    assert dlq.redrive(path, "other") == 0
    assert store.to_redrive("splunk", 9) == []


def test_a_tenant_that_never_forwarded_has_no_file(path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        list(dlq.ls(path, "splunk"))
