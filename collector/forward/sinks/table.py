"""Every sink there is, by the type of its settings."""

from collections.abc import Mapping
from typing import Any, Protocol

from collector.forward.ports import Sink
from collector.forward.settings import (
    AnyDestination,
    Destination,
    HecDestination,
    JsonlDestination,
    SyslogDestination,
)
from collector.forward.sinks.jsonl import JsonlSink
from collector.forward.sinks.splunk_hec import HecSink
from collector.forward.sinks.syslog import SyslogSink
from runtime.clock import Clock


class SinkFactory(Protocol):
    """Makes a sink; touches nothing outside yet."""

    def __call__(self, destination: Any, clock: Clock) -> Sink:  # noqa: ANN401 - its own settings
        """Return a sink for the settings of its type."""
        ...


SINKS: Mapping[type[Destination], SinkFactory] = {
    HecDestination: HecSink,
    SyslogDestination: SyslogSink,
    JsonlDestination: JsonlSink,
}


def build(destination: AnyDestination, clock: Clock) -> Sink:
    """Return the sink of a destination; it connects when something is sent."""
    return SINKS[type(destination)](destination, clock)
