import shutil

import pytest

from bench import inventory
from tests.bench.shape import checked


def test_a_listing_of_this_host_is_measured_beside_dpkg_query() -> None:
    if not shutil.which("dpkg-query"):
        pytest.skip("this host has no dpkg-query")

    figures = inventory.measure(1)

    metrics = checked("inventory", figures)
    assert metrics["packages"] > 10
    assert metrics["dpkg_inventory_cpu_ms"] > 0
    assert set(figures.peers) == {"dpkg_query"}
