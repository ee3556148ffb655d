import os

import pytest

from bench import footprint
from bench.quiethost import HostSize
from bench.report import BenchFailed
from tests.bench.shape import checked

COMPARED = {"sense_idle_rss_mib", "ship_idle_rss_mib", "agent_idle_pss_mib", "idle_cpu_percent"}


@pytest.mark.skipif(os.geteuid() == 0, reason="an ordinary user is needed")
def test_an_ordinary_user_is_told_what_is_missing() -> None:
    with pytest.raises(BenchFailed, match="needs root"):
        footprint.measure(1)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="root is needed")
def test_what_imports_alone_take_is_weighed_beside_it() -> None:
    with footprint.bare_imports() as pids:
        figures = footprint.memory_of(pids)

    assert 10 < figures["sense_idle_rss_mib"] < figures["agent_alone_mib"]
    together = figures["sense_idle_rss_mib"] + figures["ship_idle_rss_mib"]
    assert figures["agent_alone_mib"] < together


@pytest.mark.e2e
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="root is needed")
def test_an_idle_agent_stays_within_its_bounds() -> None:
    size = HostSize(processes=150, sockets=50, files=2_000)
    figures = footprint.measure(5, settle_s=10, size=size, backlog_bytes=16 * 1024 * 1024)

    metrics = checked("footprint", figures)
    assert metrics.keys() >= COMPARED
    assert 10 < metrics["sense_idle_rss_mib"] <= 45
    assert 10 < metrics["ship_idle_rss_mib"] <= 55
    assert metrics["agent_idle_pss_mib"] <= 65
    assert metrics["backlog_extra_mib"] <= 8
    assert figures.peers.keys() == {"bare_imports"}
