"""The agent's scrape port: an HTTP answer of a few lines, on loopback.

`prometheus_client` writes the text; it is imported at the first scrape, so a host that nobody
scrapes does not carry it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from agent.doorframes import Sample
from runtime.logs import logger

REQUEST_BYTES_MAX = 8 * 1024
REQUEST_TIMEOUT_S = 5

log = logger(__name__)

# Name: type and meaning. A sample of another name is not served.
METRICS: Mapping[str, tuple[str, str]] = {
    "vedette_agent_findings_total": ("counter", "Findings made, repeats included."),
    "vedette_agent_findings_suppressed_total": (
        "counter",
        "Repeats of findings that were counted in a record instead of sealed one by one.",
    ),
    "vedette_agent_observations_total": ("counter", "Facts that sensors yielded."),
    "vedette_agent_batches_sealed_total": ("counter", "Batches signed and stored."),
    "vedette_agent_records_sealed_total": ("counter", "Records signed and stored."),
    "vedette_agent_records_refused_total": ("counter", "Records over the limits of the wire."),
    "vedette_agent_batches_receipted_total": ("counter", "Batches the collector vouched for."),
    "vedette_agent_store_failures_total": ("counter", "Commits that the disk refused."),
    "vedette_agent_outbox_batches": ("gauge", "Batches without a receipt."),
    "vedette_agent_outbox_bytes": ("gauge", "Disk in use by the outbox."),
    "vedette_agent_sensor_state": ("gauge", "1 for the state a sensor is in."),
    "vedette_agent_sensor_last_success_timestamp_seconds": (
        "gauge",
        "When a sensor last collected.",
    ),
    "vedette_agent_sensor_dropped_total": ("counter", "Sightings a sensor knows it lost."),
    "vedette_sensor_last_success_age_seconds": (
        "gauge",
        "How long ago a sensor last collected; absent until it has.",
    ),
    "vedette_sensor_cpu_seconds_total": ("counter", "CPU time taken to read a sensor's source."),
    "vedette_agent_budget_level": (
        "gauge",
        "What is given up for cost: 0 nothing, 1 pace, 2 hashing, 3 surroundings, 4 reading.",
    ),
    "vedette_agent_uplink_online": ("gauge", "Whether the collector is connected."),
    "vedette_agent_uplink_batches_sent_total": ("counter", "Batches sent, resends included."),
    "vedette_agent_uplink_receipts_total": ("counter", "Receipts passed on."),
    "vedette_agent_uplink_refused_total": ("counter", "Batches the collector refused."),
    "vedette_agent_uplink_sessions_total": ("counter", "Connections opened."),
    "vedette_agent_certificate_expiry_timestamp_seconds": ("gauge", "End of the TLS certificate."),
}


def render(samples: Iterable[Sample]) -> bytes:
    """Return samples in the Prometheus text format."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415  (5 MiB only scrapers pay)
    from prometheus_client.core import (  # noqa: PLC0415
        CounterMetricFamily,
        GaugeMetricFamily,
    )
    from prometheus_client.exposition import generate_latest  # noqa: PLC0415

    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for sample in samples:
        if sample.name not in METRICS:
            continue
        kind, text = METRICS[sample.name]
        labels = [name for name, _ in sample.labels]
        if sample.name not in families:
            build = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            families[sample.name] = build(sample.name, text, labels=labels)
        family = families[sample.name]
        family.add_metric([value for _, value in sample.labels], sample.value)

    class _Once:
        def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
            return families.values()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once())
    return generate_latest(registry)


class MetricsServer:
    """Answers ``GET /metrics`` and nothing else.

    Args:
        gather: returns the current samples.
    """

    def __init__(self, gather: Callable[[], Awaitable[Iterable[Sample]]]) -> None:
        self._gather = gather
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> None:
        """Listen on loopback.

        Raises:
            OSError: the port is taken.
        """
        self._server = await asyncio.start_server(
            self._answer, "127.0.0.1", port, limit=REQUEST_BYTES_MAX
        )

    async def stop(self) -> None:
        """Stop listening; harmless when never started."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._response(head.split(b"\r\n", 1)[0]))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Whoever asks like this gets no answer.
            return
        finally:
            writer.close()

    async def _response(self, request: bytes) -> bytes:
        words = request.split(b" ")
        if len(words) != 3 or words[0] != b"GET":
            return _http(b"405 Method Not Allowed", b"only GET\n")
        if words[1] != b"/metrics":
            return _http(b"404 Not Found", b"try /metrics\n")
        return _http(b"200 OK", render(await self._gather()))


def _http(status: bytes, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 %b\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        b"Content-Length: %d\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n%b"
    ) % (status, len(body), body)
