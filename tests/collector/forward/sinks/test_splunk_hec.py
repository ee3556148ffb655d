"""The HEC sink against a receiver that judges by the published rules."""

import json
import ssl
import zlib
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given

from collector.forward.errors import SinkMisconfigured, SinkUnavailable
from collector.forward.event import Checkpoint, Event, Origin
from collector.forward.select import checkpoint_event, event_at, trial_event
from collector.forward.settings import BatchLimits, HecDestination, Patience
from collector.forward.sinks.splunk_hec import HecSink, encode
from collector.forward.states import Phase, State
from proto.model import Finding
from tests.collector.builders import NOW, an_admitted_batch
from tests.collector.forward.builders import Bench, a_hec, an_event, some_batches
from tests.collector.forward.certificates import a_server_context, an_authority
from tests.fakes.clock import FakeClock
from tests.fakes.hec import HecReceiver
from tests.proto.builders import a_finding, values_of

WHERE = HecDestination(name="splunk", url="https://splunk.example:8088", token_file="token")
ACCEPTED_503 = (503, '{"text":"Server is busy","code":9}', {"Retry-After": "3"})


@given(values_of(Finding))
def test_any_finding_is_one_json_object_that_hec_takes(finding: Finding) -> None:
    event = event_at(an_admitted_batch(finding), 0)
    if event is None:  # a shadow finding
        return

    said = encode(event, NOW, WHERE)

    envelope = json.loads(said)
    HecReceiver()._check(envelope, 0)  # noqa: SLF001 - the receiver's own judgement
    assert envelope["event"]["event_id"] == envelope["fields"]["event_id"] == event.uid
    assert envelope["time"] * 1e9 < NOW + 2 * 86_400e9
    assert b"\n" not in said


def test_an_event_carries_its_identities_and_every_time() -> None:
    event = an_event(a_finding(event_time=NOW - 5_000_000_000, observed_at=NOW - 4_000_000_000))

    envelope = json.loads(encode(event, NOW + 7_000_000_000, WHERE))

    body = envelope["event"]
    assert body["event_id"] == event.uid
    assert body["finding_id"] == "6b6b6b6b-6b6b-6b6b-6b6b-6b6b6b6b6b6b"
    assert (body["activity"], body["severity"], body["host"]) == ("create", "high", "host-1")
    assert body["event_time"] < body["observed_time"] < body["received_time"]
    assert body["received_time"] < body["forwarded_time"]
    assert envelope["time"] == body["event_time"]
    assert envelope["sourcetype"] == "vedette:finding"
    assert body["source"]["coverage"] == "configured trees"


@pytest.mark.parametrize("event_time", [-1, 0, 1000, NOW + 400 * 86_400 * 10**9, 2**62])
def test_an_event_from_a_wrong_clock_is_filed_by_when_it_was_received(event_time: int) -> None:
    event = an_event(a_finding(event_time=event_time))

    envelope = json.loads(encode(event, NOW, WHERE))

    assert envelope["time"] == envelope["event"]["received_time"]
    assert envelope["event"]["event_time"] == pytest.approx(event_time / 1e9, abs=1e-6)


def test_a_payload_is_gzip_of_concatenated_objects() -> None:
    sink = HecSink(WHERE, FakeClock())

    payload = sink.pack([b'{"a":1}', b'{"b":2}'])

    assert zlib.decompress(payload, 31) == b'{"a":1}{"b":2}'


async def test_what_was_sent_arrives_whole(tmp_path: Path) -> None:
    async with HecReceiver() as receiver:
        bench = Bench(tmp_path, *_sink(tmp_path, receiver), batches=some_batches(5, findings=30))
        bench.newest = Checkpoint(4, NOW, "vedette.example/log\n4\nroot=\n\n- sig\n")
        await bench.until_idle()
        await bench.sink.close()

    assert set(bench.uids()) < set(receiver.ids)
    assert len(receiver.ids) == len(set(receiver.ids)) == 151
    assert bench.status().counts[State.ACCEPTED] == 151


@pytest.mark.parametrize(
    "trouble", [ACCEPTED_503, (500, "<html>", {}), (429, "", {}), "drop", "cut"]
)
async def test_trouble_delays_and_loses_nothing(tmp_path: Path, trouble: object) -> None:
    async with HecReceiver() as receiver:
        receiver.script = deque([trouble, trouble])  # type: ignore[list-item]
        bench = Bench(tmp_path, *_sink(tmp_path, receiver), batches=some_batches(3))
        await bench.turns(1)
        waiting = bench.status().phase
        await bench.until_idle()
        await bench.sink.close()

    assert waiting is Phase.WAITING
    assert receiver.ids == bench.uids()


async def test_a_receiver_that_is_down_is_unavailable(tmp_path: Path) -> None:
    async with HecReceiver() as receiver:
        await receiver.deafen()
        _, destination = _sink(tmp_path, receiver)
        sink = HecSink(destination, FakeClock())

        with pytest.raises(SinkUnavailable, match="no answer"):
            await sink.send(b"{}")
        await sink.close()


async def test_a_disabled_token_parks_and_forwarding_resumes_when_it_is_enabled(
    tmp_path: Path,
) -> None:
    async with HecReceiver() as receiver:
        receiver.token_is_enabled = False
        bench = Bench(tmp_path, *_sink(tmp_path, receiver), batches=some_batches(3))
        await bench.turns(1)
        parked = bench.status()
        await bench.turns(3)
        tries = receiver.requests
        receiver.token_is_enabled = True
        await bench.until_idle()
        await bench.sink.close()

    assert parked.phase is Phase.PARKED
    assert "Token disabled" in parked.detail
    assert tries <= 4
    assert receiver.ids == bench.uids()
    assert bench.letters() == []


async def test_a_rotated_token_is_used_without_a_restart(tmp_path: Path) -> None:
    async with HecReceiver() as receiver:
        sink, destination = _sink(tmp_path, receiver)
        payload = sink.pack([sink.encode(an_event(), NOW)])
        await sink.send(payload)

        receiver.token = "another-token"
        _write(destination.token_file, "another-token")
        sent = await sink.send(payload)
        await sink.close()

    assert sent.state is State.ACCEPTED


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"line\r\nInjected: header"])
async def test_a_file_without_a_token_is_a_mistake_of_ours(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    sink = HecSink(a_hec(tmp_path), FakeClock())

    with pytest.raises(SinkMisconfigured, match="token"):
        await sink.send(b"{}")


async def test_a_missing_token_file_is_a_mistake_of_ours(tmp_path: Path) -> None:
    sink = HecSink(a_hec(tmp_path, token_file=str(tmp_path / "none")), FakeClock())

    with pytest.raises(SinkMisconfigured, match="No such file"):
        await sink.send(b"{}")


async def test_one_bad_event_in_500_costs_at_most_ten_requests(tmp_path: Path) -> None:
    async with HecReceiver() as receiver:
        bench = Bench(tmp_path, *_sink(tmp_path, receiver), batches=some_batches(2, findings=250))
        bad = bench.uids()[407]
        receiver.refuses = lambda event: event["fields"]["event_id"] == bad
        await bench.until_idle()
        await bench.sink.close()

    assert sorted(receiver.ids) == sorted(set(bench.uids()) - {bad})
    assert receiver.requests <= 10
    (letter,) = bench.letters()
    assert letter.uid == bad
    assert "Invalid data format" in letter.reason


async def test_a_receiver_with_a_smaller_limit_gets_smaller_payloads(tmp_path: Path) -> None:
    async with HecReceiver() as receiver:
        receiver.size_bytes_max = 20_000
        bench = Bench(tmp_path, *_sink(tmp_path, receiver), batches=some_batches(1, findings=100))
        await bench.until_idle()
        await bench.sink.close()

    assert sorted(receiver.ids) == sorted(bench.uids())


async def test_an_index_that_is_not_allowed_parks_and_buries_nothing(tmp_path: Path) -> None:
    async with HecReceiver() as receiver:
        receiver.indexes = {"main"}
        sink, destination = _sink(tmp_path, receiver, index="secret")
        bench = Bench(tmp_path, sink, destination, batches=some_batches(1))
        await bench.turns(3)
        await bench.sink.close()

    assert bench.status().phase is Phase.PARKED
    assert "Incorrect index" in bench.status().detail
    assert bench.letters() == []


async def test_nothing_is_confirmed_before_the_indexers_say_so(tmp_path: Path) -> None:
    async with HecReceiver(acknowledges=True) as receiver:
        receiver.is_indexed = False
        bench = Bench(tmp_path, *_acked(tmp_path, receiver), batches=some_batches(2))
        await bench.turns(5)
        before = bench.status()
        receiver.is_indexed = True
        await bench.until_idle()
        await bench.sink.close()

    assert before.counts[State.CONFIRMED] == before.cursor.position == 0
    assert bench.status().counts[State.CONFIRMED] == 2
    assert receiver.ids == bench.uids()
    assert len(set(receiver.channels)) == 1


async def test_what_is_not_acknowledged_in_time_is_sent_again_with_the_same_ids(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with HecReceiver(acknowledges=True) as receiver:
        receiver.is_indexed = False
        destination = _acked(tmp_path, receiver)[1]
        sink = HecSink(destination, clock)
        bench = Bench(tmp_path, sink, destination, batches=some_batches(1), clock=clock)
        await bench.turns(2)
        bench.clock.forward(301)
        await bench.turns(3)
        receiver.is_indexed = True
        await bench.until_idle()
        await bench.sink.close()

    assert receiver.ids == bench.uids() * 2
    assert bench.status().resent == 1
    assert bench.status().counts[State.CONFIRMED] == 1


@pytest.mark.parametrize(
    "answer",
    [(404, "not found"), (500, "error"), (200, "<html>"), (400, '{"code":14,"text":"off"}')],
)
async def test_broken_acknowledgement_confirms_nothing_and_is_seen(
    tmp_path: Path, answer: tuple[int, str]
) -> None:
    async with HecReceiver(acknowledges=True) as receiver:
        receiver.ack_answer = answer
        bench = Bench(tmp_path, *_acked(tmp_path, receiver), batches=some_batches(3))
        await bench.turns(10)
        await bench.sink.close()

    assert receiver.acks_asked
    assert bench.status().counts[State.CONFIRMED] == 0
    assert "acknowledgements are not answered" in bench.status().degraded


async def test_a_receiver_without_acknowledgement_ids_is_seen(tmp_path: Path) -> None:
    async with HecReceiver(acknowledges=True) as receiver:
        receiver.gives_ack_ids = False
        bench = Bench(tmp_path, *_acked(tmp_path, receiver), batches=some_batches(3))
        await bench.until_idle()
        await bench.sink.close()

    assert bench.status().counts[State.CONFIRMED] == 0
    assert bench.status().counts[State.ACCEPTED] == 3
    assert "no acknowledgement ids" in bench.status().degraded


async def test_a_receiver_is_trusted_by_its_authority_and_its_name(tmp_path: Path) -> None:
    ours, other = an_authority(tmp_path / "ours"), an_authority(tmp_path / "other")

    async def reach(ca_file: Path, server: ssl.SSLContext) -> State:
        async with HecReceiver(tls=server) as receiver:
            sink, _ = _sink(tmp_path, receiver, ca_file=str(ca_file))
            try:
                return (await sink.send(sink.pack([sink.encode(_trial(), NOW)]))).state
            finally:
                await sink.close()

    assert await reach(ours.ca_file, a_server_context(ours)) is State.ACCEPTED
    with pytest.raises(SinkMisconfigured, match="not trusted"):
        await reach(other.ca_file, a_server_context(ours))
    with pytest.raises(SinkMisconfigured, match="not trusted"):
        await reach(ours.ca_file, a_server_context(ours, name="another.example"))


async def test_a_sink_that_was_closed_can_be_used_again(tmp_path: Path) -> None:
    async with HecReceiver() as receiver:
        sink, _ = _sink(tmp_path, receiver)
        payload = sink.pack([sink.encode(an_event(), NOW)])
        await sink.send(payload)
        await sink.close()
        await sink.close()

        sent = await sink.send(payload)
        await sink.close()

    assert sent.state is State.ACCEPTED


def test_a_checkpoint_is_said_whole() -> None:
    note = "vedette.example/log\n7\nroot=\n\n- vedette sig\n"
    event = checkpoint_event(Checkpoint(7, NOW, note), Origin("t", "", "", NOW))

    envelope = json.loads(encode(event, NOW, WHERE))

    assert envelope["event"]["note"] == note
    assert envelope["event"]["log_size"] == 7
    assert envelope["sourcetype"] == "vedette:checkpoint"


def _write(path: str, text: str) -> None:
    Path(path).write_text(text)


def _trial() -> Event:
    return trial_event(Origin("t", "", "", NOW), NOW)


def _sink(path: Path, receiver: HecReceiver, **changes: object) -> tuple[HecSink, HecDestination]:
    values = {
        "url": receiver.url,
        "patience": Patience(send_timeout_s=5),
        "batch": BatchLimits(wait_s_max=0),
    }
    destination = a_hec(path, **(values | changes))
    return HecSink(destination, FakeClock()), destination


def _acked(path: Path, receiver: HecReceiver) -> tuple[HecSink, HecDestination]:
    return _sink(path, receiver, acknowledge=True)
