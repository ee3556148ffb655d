"""Syslog over TLS: nothing is settled early, and what may be lost is sent again."""

import asyncio
import json
from pathlib import Path

import pytest

from collector.forward.errors import SinkMisconfigured, SinkUnavailable
from collector.forward.settings import BatchLimits, Patience, SyslogDestination
from collector.forward.sinks import syslog
from collector.forward.sinks.syslog import SyslogSink
from collector.forward.states import Phase, State
from runtime.clock import SystemClock
from tests.collector.forward.builders import Bench, a_syslog, eventually, some_batches
from tests.collector.forward.certificates import (
    Authority,
    a_certificate,
    a_server_context,
    an_authority,
)
from tests.fakes.clock import FakeClock
from tests.fakes.syslog import SyslogReceiver


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return an_authority(tmp_path / "authority")


def where(authority: Authority, receiver: SyslogReceiver, **changes: object) -> SyslogDestination:
    client = a_certificate(authority, "collector.example")
    values = {
        "ca_file": str(authority.ca_file),
        "cert_file": str(client.cert),
        "key_file": str(client.key),
        "batch": BatchLimits(events_max=10, wait_s_max=0),
        "patience": Patience(send_timeout_s=5, retry_wait_s_first=0.01, retry_wait_s_max=0.02),
    }
    return a_syslog(receiver.address, **(values | changes))


def a_receiver(authority: Authority) -> SyslogReceiver:
    return SyslogReceiver(a_server_context(authority, asks_client=True))


def ids(receiver: SyslogReceiver) -> list[str]:
    return [json.loads(message.split(b"] ", 1)[1])["event_id"] for message in receiver.messages]


async def test_every_message_arrives_over_mutual_tls_and_is_unconfirmable_at_best(
    tmp_path: Path, authority: Authority
) -> None:
    with a_receiver(authority) as receiver:
        destination, clock = where(authority, receiver), FakeClock()
        sink = SyslogSink(destination, clock)
        bench = Bench(tmp_path, sink, destination, batches=some_batches(5, findings=9), clock=clock)
        await bench.until_idle()
        await sink.close()
        await eventually(lambda: receiver.ends)

    assert ids(receiver) == bench.uids()
    assert receiver.ends == ["close_notify"]
    assert bench.status().counts[State.UNCONFIRMABLE] == 45
    assert bench.status().counts[State.CONFIRMED] == 0


async def test_the_tail_is_not_settled_before_its_time(
    tmp_path: Path, authority: Authority
) -> None:
    with a_receiver(authority) as receiver:
        destination, clock = where(authority, receiver, tail_s=60), FakeClock()
        sink = SyslogSink(destination, clock)
        bench = Bench(tmp_path, sink, destination, batches=some_batches(3), clock=clock)
        await bench.delivery.turn()
        await eventually(lambda: len(receiver.messages) == 3)
        clock.forward(59)
        await bench.delivery.turn()
        early = bench.status().counts[State.UNCONFIRMABLE]
        clock.forward(2)
        await bench.until_idle()
        await sink.close()

    assert early == 0
    assert bench.status().counts[State.UNCONFIRMABLE] == 3


async def test_a_long_tail_is_cut_by_bytes(tmp_path: Path, authority: Authority) -> None:
    with a_receiver(authority) as receiver:
        changes = {"tail_s": 3600, "tail_bytes_max": 65_536}
        destination, clock = where(authority, receiver, **changes), FakeClock()
        sink = SyslogSink(destination, clock)
        batches = some_batches(1, findings=250)
        bench = Bench(tmp_path, sink, destination, batches=batches, clock=clock)
        for _ in range(60):
            clock.forward(min(1, await bench.delivery.turn()))
        settled = bench.status().counts[State.UNCONFIRMABLE]
        await sink.close()

    tail_bytes = sum(len(message) for message in receiver.messages[settled:])
    assert 0 < settled < 250
    assert 65_536 <= tail_bytes + 5 * (250 - settled) < 2 * 65_536


async def test_what_a_reset_lost_is_sent_again_with_the_same_ids(
    tmp_path: Path, authority: Authority
) -> None:
    with a_receiver(authority) as receiver:
        receiver.reset_after = 120
        destination, clock = where(authority, receiver), FakeClock()
        sink = SyslogSink(destination, clock)
        batches = some_batches(10, findings=100)
        bench = Bench(tmp_path, sink, destination, batches=batches, clock=clock)
        await bench.until_idle()
        await sink.close()
        await eventually(lambda: len(receiver.ends) == receiver.connections)

    assert set(ids(receiver)) == set(bench.uids())
    assert receiver.connections >= 2
    assert bench.status().resent > 0


async def test_a_kill_of_the_forwarder_loses_nothing_of_the_tail(
    tmp_path: Path, authority: Authority
) -> None:
    with a_receiver(authority) as receiver:
        destination, clock = where(authority, receiver), FakeClock()
        sink = SyslogSink(destination, clock)
        bench = Bench(tmp_path, sink, destination, batches=some_batches(3), clock=clock)
        await bench.delivery.turn()
        await sink.close()
        bench.sink = SyslogSink(destination, clock)
        bench.restart()
        await bench.until_idle()
        await bench.sink.close()
        await eventually(lambda: len(receiver.ends) == receiver.connections)

    assert ids(receiver) == bench.uids() * 2


async def test_a_peer_that_does_not_read_holds_the_cursor(
    tmp_path: Path, authority: Authority
) -> None:
    with a_receiver(authority) as receiver:
        big = BatchLimits(events_max=1000, size_bytes_max=1_000_000, wait_s_max=0)
        patience = Patience(send_timeout_s=0.6, retry_wait_s_first=0.01, retry_wait_s_max=0.02)
        destination = where(authority, receiver, batch=big, patience=patience)
        clock = FakeClock()
        sink = SyslogSink(destination, clock)
        batches = some_batches(40, findings=250)
        bench = Bench(tmp_path, sink, destination, batches=batches, clock=clock)
        receiver.reads.clear()
        await bench.turns(1)
        while bench.status().phase is Phase.RUNNING:
            clock.forward(min(1, await bench.delivery.turn()))
        stuck = bench.status()
        receiver.reads.set()
        await bench.until_idle(3000)
        await sink.close()
        await eventually(lambda: len(receiver.ends) == receiver.connections)

    assert stuck.phase is Phase.WAITING
    assert "no answer" in stuck.detail
    assert stuck.cursor.position < 40
    assert set(ids(receiver)) == set(bench.uids())


async def test_a_refused_certificate_parks_although_writing_seemed_to_work(
    tmp_path: Path, authority: Authority
) -> None:
    with a_receiver(authority) as receiver:
        destination = where(authority, receiver, cert_file="", key_file="")
        clock = FakeClock()
        bench = Bench(
            tmp_path,
            SyslogSink(destination, clock),
            destination,
            batches=some_batches(2),
            clock=clock,
        )
        await bench.turns(1)
        await bench.sink.close()

    assert bench.status().phase is Phase.PARKED
    assert "certificate" in bench.status().detail
    assert bench.status().cursor.position == 0
    assert bench.status().counts[State.UNCONFIRMABLE] == 0


async def test_a_receiver_of_another_name_or_authority_is_not_trusted(
    tmp_path: Path, authority: Authority
) -> None:
    other = an_authority(tmp_path / "other")
    with a_receiver(authority) as receiver:
        for changes in ({"ca_file": str(other.ca_file)}, {"server_name": "siem.example"}):
            sink = SyslogSink(where(authority, receiver, **changes), SystemClock())

            with pytest.raises(SinkMisconfigured, match="not trusted"):
                await sink.send(b"")
            await sink.close()

    assert receiver.messages == []


async def test_a_receiver_that_is_down_is_unavailable(authority: Authority) -> None:
    with a_receiver(authority) as receiver:
        destination = where(authority, receiver)
    sink = SyslogSink(destination, SystemClock())

    with pytest.raises(SinkUnavailable, match="no connection"):
        await sink.send(b"")


async def test_a_payload_written_to_a_connection_that_has_ended_fails(
    authority: Authority,
) -> None:
    with a_receiver(authority) as receiver:
        receiver.reset_after = 0
        sink = SyslogSink(where(authority, receiver), FakeClock())
        sent = await sink.send(b"3 abc")
        assert sent.token is not None
        lost: list[State] = []

        async def is_lost() -> bool:
            lost[:] = (await sink.ask([sent.token or 0])).values()
            return bool(lost)

        for _ in range(500):
            if await is_lost():
                break
            await asyncio.sleep(0.01)
        with pytest.raises(SinkUnavailable, match="lost"):
            await sink.send(b"3 abc")
        await sink.close()

    assert lost == [State.QUEUED]
    assert syslog.SyslogSink.in_flight_max == 1
