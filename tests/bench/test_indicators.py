from bench import indicators
from tests.bench.shape import checked

COMPARED = {
    "misses_per_second",
    "hits_per_second",
    "bytes_per_indicator",
    "rss_mib",
    "anonymous_rss_mib",
    "open_ms",
    "rss_after_hits_mib",
    "domain_parents_per_second",
    "urls_with_host_per_second",
    "cidr_lookups_per_second",
    "build_cpu_seconds",
}


def test_the_figures_that_are_compared_keep_their_names() -> None:
    figures = indicators.measure(200)

    metrics = checked("indicators", figures)
    assert set(metrics) == COMPARED
    assert metrics["hits_per_second"] > 0
    assert metrics["bytes_per_indicator"] > 8
    assert set(figures.peers) == {"set_of_str", "sqlite_without_rowid"}


def test_the_mix_is_the_same_each_time() -> None:
    first = list(indicators.values(20, seed=1))

    assert first == list(indicators.values(20, seed=1))
    assert first != list(indicators.values(20, seed=2))
    assert len({kind for kind, _ in first}) == 4
