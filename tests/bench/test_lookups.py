from pathlib import Path

import pytest

from bench import indicators, lookups


def a_root(path: Path) -> Path:
    listed = list(indicators.values(100, seed=1))
    indicators.write_index(path / "index", listed)
    indicators.write_lines(path / "set", listed)
    indicators.write_table(path / "table", listed)
    indicators.write_lines(path / "present", listed[:50])
    indicators.write_lines(path / "absent", list(indicators.values(50, seed=2)))
    return path


@pytest.mark.parametrize("name", lookups.CONTESTANTS)
def test_each_contestant_finds_what_is_listed_and_nothing_else(name: str, tmp_path: Path) -> None:
    figures = lookups.compete(name, a_root(tmp_path))

    assert figures["misses_per_second"] > 0
    assert figures["hits_per_second"] > 0
    assert figures["open_ms"] > 0


def test_a_contestant_that_misses_something_is_not_quoted(tmp_path: Path) -> None:
    root = a_root(tmp_path)
    indicators.write_lines(root / "set", [])

    with pytest.raises(AssertionError, match="0 of 50 found"):
        lookups.compete("set", root)
