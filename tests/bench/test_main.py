import importlib
import json

import pytest

from bench import __main__ as bench
from bench.report import BenchFailed, Figures


def test_every_name_has_a_module_that_says_what_it_measures() -> None:
    for name, (module, text) in bench.BENCHMARKS.items():
        found = importlib.import_module(module)

        assert text, name
        assert found.CLOCK, name
        assert found.UNIT, name
        assert found.SCALE >= 1, name
        assert callable(found.measure), name


def test_one_benchmark_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    code = bench.main(["posture", "--json", "--scale", "1"])

    out = capsys.readouterr().out
    assert code == 0
    assert len(out.splitlines()) == 1
    assert json.loads(out)["name"] == "posture"


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    code = bench.main(["posture", "--scale", "1"])

    assert code == 0
    assert "wall_seconds" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["unknown"], ["seal", "--scale", "0"], ["all", "--scale", "5"]])
def test_what_cannot_be_asked_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench.main(words)

    assert stopped.value.code == 2


def test_a_failed_benchmark_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(bench.BENCHMARKS, "broken", (__name__, "this test"))

    code = bench.main(["broken"])

    assert code == 1
    assert "nothing to see" in capsys.readouterr().err


CLOCK, SCALE, UNIT = "nothing", 1, "things"


def measure(scale: int) -> Figures:
    raise BenchFailed(f"nothing to see at {scale}")
