"""What these tests measure is told at the end of the run, passed or failed."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.everyone import python_for_everyone

FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Take a line to be told at the end."""
    return pytestconfig.stash.setdefault(FIGURES, []).append


@pytest.fixture(scope="session")
def everyones_python() -> Iterator[str]:
    """Give an interpreter that every user can run, with our programs."""
    home = Path(tempfile.mkdtemp(prefix="vedette-python-"))
    home.chmod(0o755)
    try:
        yield python_for_everyone(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what was measured."""
    figures = terminalreporter.config.stash.get(FIGURES, [])
    if figures:
        terminalreporter.section("figures")
    for line in figures:
        terminalreporter.write_line(line)
