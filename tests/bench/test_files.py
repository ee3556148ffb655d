import pytest

from agent.sense.sensors.files import FileSensor
from bench import files
from bench.report import BenchFailed
from tests.bench.shape import checked


def test_watching_files_is_measured_beside_its_peer() -> None:
    figures = files.measure(100)

    metrics = checked("files", figures)
    assert metrics["files"] == 100
    assert metrics["baseline_cpu_seconds"] > 0
    assert metrics["stat_sweep_cpu_seconds"] > 0
    assert metrics["burst_known_percent"] == 100
    assert figures.peers["inotify"]["watch_setup_ms"] > 0


def test_files_that_are_not_told_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILES_A_DIRECTORY", 1)
    monkeypatch.setattr(files, "DEADLINE_S", 0)
    monkeypatch.setattr(FileSensor, "poll", lambda *_: ())
    monkeypatch.setattr(FileSensor, "due", lambda *_: None)

    with pytest.raises(BenchFailed):
        files.measure(1)
