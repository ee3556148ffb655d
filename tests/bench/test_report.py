import json

from bench import report
from bench.report import Figures


def test_the_object_has_the_four_parts_that_scripts_read() -> None:
    figures = Figures({"things_per_second": 1234.567}, {"other": {"things_per_second": 0.0123456}})

    shown = json.loads(report.as_json("things", figures))

    assert list(shown) == ["name", "machine", "metrics", "peers"]
    assert shown["name"] == "things"
    assert shown["metrics"] == {"things_per_second": 1235}
    assert shown["peers"] == {"other": {"things_per_second": 0.01235}}
    assert {"cpu", "cores", "memory_mib", "kernel", "python"} <= shown["machine"].keys()


def test_the_machine_is_described() -> None:
    machine = report.machine()

    assert machine["cpu"]
    assert isinstance(machine["cores"], int)
    assert machine["cores"] >= 1
    assert isinstance(machine["memory_mib"], int)
    assert machine["memory_mib"] > 0


def test_people_read_what_is_inside_the_clock() -> None:
    text = report.as_text("things", "one thing", Figures({"seconds": 2.0}))

    assert text.splitlines()[0] == "things: one thing"
    assert "seconds" in text.splitlines()[1]


def test_the_middle_is_taken_figure_by_figure() -> None:
    runs = [{"a": 1.0, "b": 9.0}, {"a": 5.0, "b": 1.0}, {"a": 2.0, "b": 2.0}]

    assert report.medians(runs) == {"a": 2.0, "b": 2.0}


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(1, 101)]

    assert report.percentile(values, 0.99) == 99
    assert report.percentile(values, 0.5) == 50
    assert report.percentile(values, 1) == 100
    assert report.percentile([7.0], 0.99) == 7


def test_a_ratio_says_how_many_times_the_peers_figure_ours_is() -> None:
    shown = report.against({"speed": 6.0, "own": 1.0}, {"speed": 2.0, "other": 3.0})

    assert shown == {"speed": 2.0, "other": 3.0, "speed_ratio": 3.0}


def test_a_peer_that_used_nothing_has_no_ratio() -> None:
    assert report.against({"rss_mib": 1.0}, {"rss_mib": 0.0}) == {"rss_mib": 0.0}


def test_time_passes_while_work_is_done() -> None:
    assert report.seconds_of(lambda: sum(range(1000))) > 0
