"""The real sinks and the fakes satisfy the ports; a type checker reads this file."""

from pathlib import Path

from collector.forward.ports import Sent, Sink, Source, TenantLedger
from collector.forward.sinks.jsonl import JsonlSink
from collector.forward.sinks.splunk_hec import HecSink
from collector.forward.sinks.syslog import SyslogSink
from collector.forward.states import State
from collector.ledger.admitted import AdmittedReader
from tests.collector.builders import TENANT
from tests.collector.forward.builders import a_file, a_hec, a_syslog
from tests.fakes.clock import FakeClock
from tests.fakes.sink import MemorySink
from tests.fakes.source import MemorySource


def test_every_sink_says_how_it_is_used(tmp_path: Path) -> None:
    clock = FakeClock()
    sinks: list[Sink] = [
        HecSink(a_hec(tmp_path), clock),
        SyslogSink(a_syslog(), clock),
        JsonlSink(a_file(tmp_path / "out"), clock),
        MemorySink(),
    ]

    for sink in sinks:
        assert sink.in_flight_max >= 1
        assert sink.ask_wait_s > 0
        assert sink.degraded == ""


def test_the_admitted_ledger_is_a_source() -> None:
    sources: list[type[Source]] = [AdmittedReader, MemorySource]

    ledger = TenantLedger(TENANT, MemorySource(), lambda: None)

    assert all(hasattr(source, "read") and hasattr(source, "mark") for source in sources)
    assert ledger.checkpoint() is None


def test_a_payload_without_a_token_is_settled() -> None:
    assert Sent(State.ACCEPTED).token is None
