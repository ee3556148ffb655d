"""One table of metrics; bounded labels; text that Prometheus's own tool finds no fault with."""

import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.console.metrics import (
    LABEL_CHARS_MAX,
    METRICS,
    OTHER,
    PREFIX,
    TENANTS_MAX,
    exposition,
    folded,
)
from collector.console.ports import Sample
from tests.debian import extracted, libraries


def one_of_each(tenants: int = 2) -> list[Sample]:
    return [
        Sample(name, 1.5, tuple(f"{label}-{number}" for label in spec.labels))
        for name, spec in METRICS.items()
        for number in range(tenants if spec.labels else 1)
    ]


def test_names_and_help_are_as_prometheus_wants_them() -> None:
    for name, spec in METRICS.items():
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", name), name
        assert (spec.kind == "counter") == name.endswith("_total"), name
        assert spec.help, name
        assert not spec.help.endswith("."), name


def test_every_sample_is_in_the_text_under_our_prefix() -> None:
    text = exposition(one_of_each()).decode()

    for name, spec in METRICS.items():
        series = [line for line in text.splitlines() if line.startswith(PREFIX + name)]
        assert len(series) == (2 if spec.labels else 1), name
    assert text.count("# HELP") == len(METRICS)


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_label_stays_one_line_and_one_value(tenant: str, destination: str) -> None:
    text = exposition([Sample("forward_lag_batches", 1, (tenant, destination))]).decode()

    (series,) = [line for line in text.split("\n") if line and not line.startswith("#")]
    assert series.startswith(f'{PREFIX}forward_lag_batches{{destination="')
    assert series.endswith("} 1.0")


def test_tenants_beyond_the_bound_are_counted_together() -> None:
    samples = [
        Sample("ledger_batches_total", 2, (f"tenant-{number}",))
        for number in range(TENANTS_MAX + 50)
    ]

    series = folded(samples)["ledger_batches_total"]

    assert len(series) == TENANTS_MAX + 1
    assert series[OTHER,] == 100


def test_of_ages_the_largest_stands_for_all() -> None:
    samples = [
        Sample("projection_lag_seconds", number, (f"tenant-{number}", "index"))
        for number in range(TENANTS_MAX + 50)
    ]

    series = folded(samples)["projection_lag_seconds"]

    assert series[OTHER, "index"] == TENANTS_MAX + 49


def test_long_labels_are_cut() -> None:
    series = folded([Sample("build_info", 1, ("v" * 1000,))])["build_info"]

    assert list(series) == [("v" * LABEL_CHARS_MAX,)]


def test_a_number_that_the_table_does_not_know_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        exposition([Sample("agent_names", 1)])
    with pytest.raises(ValueError, match="labels"):
        exposition([Sample("tenants", 1, ("surplus",))])


def test_no_label_could_name_a_host_or_a_finding() -> None:
    labels = {label for spec in METRICS.values() for label in spec.labels}

    assert labels == {
        *("version", "check", "tenant", "projection", "kind", "destination", "state", "phase")
    }


@pytest.mark.slow
def test_promtool_finds_no_fault(pytestconfig: pytest.Config) -> None:
    root = extracted(pytestconfig.cache.mkdir("debian"), "prometheus")

    done = subprocess.run(
        [root / "usr/bin/promtool", "check", "metrics"],
        input=exposition(one_of_each()),
        env=libraries(root),
        capture_output=True,
        check=False,
        timeout=30,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
