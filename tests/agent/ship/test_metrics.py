import asyncio
import socket
import subprocess
from collections.abc import Iterable

import pytest

from agent.doorframes import Sample
from agent.ship.metrics import METRICS, MetricsServer, render
from tests.debian import extracted, libraries

SAMPLES = [
    Sample("vedette_agent_findings_total", (("kind", "detection"), ("severity", "high")), 2),
    Sample("vedette_agent_findings_total", (("kind", "compliance"), ("severity", "low")), 1),
    Sample("vedette_agent_outbox_batches", (), 3),
    Sample("vedette_agent_unknown", (), 1),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer


async def gathered() -> Iterable[Sample]:
    return SAMPLES


def test_values_are_rendered_once_a_family_and_unknown_names_never() -> None:
    text = render(SAMPLES).decode()

    assert text.count("# TYPE vedette_agent_findings_total counter") == 1
    assert 'vedette_agent_findings_total{kind="detection",severity="high"} 2.0' in text
    assert "unknown" not in text


@pytest.mark.slow
def test_promtool_finds_nothing_to_say(pytestconfig: pytest.Config) -> None:
    root = extracted(pytestconfig.cache.mkdir("debian"), "prometheus")
    everything = [Sample(name, (), 1) for name in METRICS]

    done = subprocess.run(
        [root / "usr/bin/promtool", "check", "metrics"],
        input=render(everything),
        capture_output=True,
        check=False,
        env=libraries(root),
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


async def test_only_get_metrics_is_answered() -> None:
    server = MetricsServer(gathered)
    port = free_port()
    await server.start(port)

    good = await ask(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    other = await ask(port, b"GET /etc/passwd HTTP/1.1\r\n\r\n")
    post = await ask(port, b"POST /metrics HTTP/1.1\r\n\r\n")
    junk = await ask(port, b"junk\r\n\r\n")
    flood = await ask(port, b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n")
    await server.stop()

    assert good.startswith(b"HTTP/1.1 200 OK")
    assert b"vedette_agent_outbox_batches 3.0" in good
    assert other.startswith(b"HTTP/1.1 404")
    assert post.startswith(b"HTTP/1.1 405")
    assert junk.startswith(b"HTTP/1.1 405")
    assert flood == b""
