"""A file of JSON Lines: whole lines, on disk when they count."""

import json
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given

from collector.forward.errors import SinkUnavailable
from collector.forward.select import event_at
from collector.forward.sinks.jsonl import JsonlSink
from collector.forward.states import State
from proto.model import Finding
from tests.collector.builders import NOW, an_admitted_batch
from tests.collector.forward.builders import Bench, a_file, an_event, some_batches
from tests.fakes.clock import FakeClock
from tests.proto.builders import values_of


def a_sink(path: Path) -> JsonlSink:
    return JsonlSink(a_file(path), FakeClock())


@given(values_of(Finding))
def test_any_event_is_one_line(finding: Finding) -> None:
    event = event_at(an_admitted_batch(finding), 0)
    if event is None:  # a shadow finding
        return

    line = a_sink(Path("out")).encode(event, NOW)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line)["event_id"] == event.uid


async def test_every_event_is_in_the_file_and_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = a_sink(path)
    bench = Bench(tmp_path, sink, a_file(path), batches=some_batches(3, findings=5))

    await bench.until_idle()

    lines = path.read_text().splitlines()
    assert [json.loads(line)["event_id"] for line in lines] == bench.uids()
    assert bench.status().counts[State.CONFIRMED] == 15
    assert await sink.ask([1]) == {}
    await sink.close()


async def test_a_torn_line_ends_where_the_next_payload_begins(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"event_id":"to')

    await a_sink(path).send(b'{"event_id":"whole"}\n')

    assert path.read_bytes() == b'{"event_id":"to\n{"event_id":"whole"}\n'


async def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = a_sink(path)

    await sink.send(b"1\n")
    path.rename(tmp_path / "out.jsonl.1")
    await sink.send(b"2\n")

    assert path.read_bytes() == b"2\n"


async def test_a_write_that_fails_half_way_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"old\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        with pytest.raises(SinkUnavailable, match="cannot write"):
            await a_sink(path).send(b"x" * 500 + b"\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)

    assert path.read_bytes() == b"old\n"


async def test_a_directory_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(SinkUnavailable):
        await a_sink(tmp_path / "none" / "out.jsonl").send(b"1\n")


def test_lines_follow_each_other() -> None:
    event = an_event()
    sink = a_sink(Path("out"))

    assert sink.pack([sink.encode(event, 1), sink.encode(event, 1)]).count(b"\n") == 2
