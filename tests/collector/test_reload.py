import asyncio
import time
from pathlib import Path

import pytest

from collector.reload import Reloader
from collector.settings import CollectorSettings, read_settings


def written(path: Path, text: str) -> Path:
    file = path / "collector.toml"
    file.write_text(text)
    return file


def test_changed_settings_are_applied_once(tmp_path: Path) -> None:
    file = written(tmp_path, "[feeds]\ninterval_s = 60\n")
    taken: list[CollectorSettings] = []
    reloader = Reloader(file, read_settings(file, {}, missing_ok=False), taken.append)

    reloader.look()
    written(tmp_path, "[feeds]\ninterval_s = 120\n")
    reloader.look()
    reloader.look()

    assert [settings.feeds.interval_s for settings in taken] == [120]


def test_bad_settings_change_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, "[feeds]\ninterval_s = 60\n")
    taken: list[CollectorSettings] = []
    reloader = Reloader(file, read_settings(file, {}, missing_ok=False), taken.append)

    for bad in ("[feeds]\ninterval = 60\n", "not toml [", "[feeds]\ninterval_s = -1\n"):
        written(tmp_path, bad)
        reloader.look()

    assert taken == []


async def test_a_write_is_noticed_while_it_watches(tmp_path: Path) -> None:
    file = written(tmp_path, "[feeds]\ninterval_s = 60\n")
    noticed = asyncio.Event()
    current = read_settings(file, {}, missing_ok=False)
    reloader = Reloader(file, current, lambda _settings: noticed.set())
    watching = asyncio.ensure_future(reloader.run())

    async with asyncio.timeout(10):
        while not noticed.is_set():
            # Until the watch stands, a write may go unseen.
            written(tmp_path, f"[feeds]\ninterval_s = {100 + len(str(id(noticed)))}\n")
            await asyncio.sleep(0.1)

    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert noticed.is_set()


async def test_a_file_that_was_named_from_where_we_are_is_watched_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "[feeds]\ninterval_s = 60\n")
    file = Path("collector.toml")
    taken: list[CollectorSettings] = []
    reloader = Reloader(file, read_settings(file, {}, missing_ok=False), taken.append)
    watching = asyncio.ensure_future(reloader.run())

    for number in range(100):
        written(tmp_path, f"[feeds]\ninterval_s = {100 + number}\n")
        await asyncio.sleep(0.1)
        if taken:
            break

    watching.cancel()
    started = time.monotonic()
    await asyncio.gather(watching, return_exceptions=True)
    assert taken
    assert time.monotonic() - started < 5
