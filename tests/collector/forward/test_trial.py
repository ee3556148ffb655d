"""A marked event shows how far a destination takes it, and what stands in the way."""

import json
from pathlib import Path

import pytest

from collector.forward.errors import NoSuchDestination, SinkMisconfigured
from collector.forward.settings import AnyDestination
from collector.forward.sinks.splunk_hec import HecSink
from collector.forward.sinks.syslog import SyslogSink
from collector.forward.states import State
from collector.forward.trial import named, try_out
from runtime.clock import SystemClock
from tests.collector.builders import TENANT
from tests.collector.forward.builders import a_file, a_hec, a_syslog
from tests.collector.forward.certificates import a_certificate, a_server_context, an_authority
from tests.fakes.hec import HecReceiver
from tests.fakes.sink import MemorySink
from tests.fakes.syslog import SyslogReceiver

CLOCK = SystemClock()


async def test_a_trial_over_hec_is_accepted_and_can_be_found(tmp_path: Path) -> None:
    async with HecReceiver() as receiver:
        destination = a_hec(tmp_path, url=receiver.url)
        report = await try_out(destination, HecSink(destination, CLOCK), TENANT, CLOCK, 5)

    assert (report.state, report.top, report.detail) == (State.ACCEPTED, State.ACCEPTED, "")
    assert report.is_well
    assert receiver.ids == [report.event_id]
    assert receiver.events[0]["sourcetype"] == "vedette:test"


async def test_a_trial_waits_for_the_indexers(tmp_path: Path) -> None:
    async with HecReceiver(acknowledges=True) as receiver:
        destination = a_hec(tmp_path, url=receiver.url, acknowledge=True, ack_poll_s=0.01)
        report = await try_out(destination, HecSink(destination, CLOCK), TENANT, CLOCK, 5)

    assert report.state is State.CONFIRMED


async def test_a_trial_without_acknowledgement_says_why_it_got_no_further(tmp_path: Path) -> None:
    async with HecReceiver() as receiver:
        destination = a_hec(tmp_path, url=receiver.url, acknowledge=True)
        report = await try_out(destination, HecSink(destination, CLOCK), TENANT, CLOCK, 5)

    assert (report.state, report.top) == (State.ACCEPTED, State.CONFIRMED)
    assert not report.is_well
    assert "no acknowledgement ids" in report.detail


async def test_a_trial_over_syslog_is_unconfirmable(tmp_path: Path) -> None:
    authority = an_authority(tmp_path / "authority")
    client = a_certificate(authority, "collector.example")
    with SyslogReceiver(a_server_context(authority, asks_client=True)) as receiver:
        destination = a_syslog(
            receiver.address,
            ca_file=str(authority.ca_file),
            cert_file=str(client.cert),
            key_file=str(client.key),
            tail_s=0.1,
        )
        report = await try_out(destination, SyslogSink(destination, CLOCK), TENANT, CLOCK, 5)

    assert report.state is report.top is State.UNCONFIRMABLE
    assert [json.loads(m.split(b"] ", 1)[1])["kind"] for m in receiver.messages] == ["test"]


async def test_a_trial_says_what_stands_in_the_way(tmp_path: Path) -> None:
    sink = MemorySink()
    sink.mood = SinkMisconfigured("token disabled", hint="enable it")

    report = await try_out(a_hec(tmp_path), sink, TENANT, CLOCK, 5)

    assert report.state is State.QUEUED
    assert report.detail == "token disabled (enable it)"
    assert sink.closes == 1


async def test_a_trial_ends_when_nothing_more_is_known(tmp_path: Path) -> None:
    sink = MemorySink(settles=None)
    sink.ask_wait_s = 0.01

    report = await try_out(a_hec(tmp_path), sink, TENANT, CLOCK, 0.05)

    assert report.state is State.SENT
    assert "nothing more was known" in report.detail


def test_a_destination_is_found_by_name(tmp_path: Path) -> None:
    destinations: list[AnyDestination] = [a_hec(tmp_path), a_file(tmp_path / "out")]

    assert named(destinations, "file") is destinations[1]
    with pytest.raises(NoSuchDestination, match="known: splunk, file"):
        named(destinations, "elastic")
