"""What every benchmark's object must look like."""

import json
import math

from bench import report
from bench.report import Figures


def checked(name: str, figures: Figures) -> dict[str, float]:
    """Return the metrics as a reader of ``--json`` gets them."""
    shown = json.loads(report.as_json(name, figures))
    assert list(shown) == ["name", "machine", "metrics", "peers"]
    assert shown["name"] == name
    for numbers in (shown["metrics"], *shown["peers"].values()):
        assert numbers
        for metric, value in numbers.items():
            assert metric.replace("_", "a").isalnum(), metric
            assert math.isfinite(value), metric
            assert value >= 0, metric
    metrics: dict[str, float] = shown["metrics"]
    return metrics
