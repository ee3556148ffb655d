"""Settings that change while the daemon runs.

The file is watched; a good one is applied, a bad one is named and the old settings go on. Changes
that the watcher loses are found by looking at the file now and then.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from watchfiles import awatch

from collector.settings import CollectorSettings, read_settings
from runtime.errors import VedetteError
from runtime.logs import logger

LOOK_S = 60

log = logger(__name__)


class Reloader:
    """Applies the settings in a file whenever they have changed.

    Args:
        path: the file.
        current: what is in force.
        apply: takes new settings; called on the event loop.
    """

    def __init__(
        self,
        path: Path,
        current: CollectorSettings,
        apply: Callable[[CollectorSettings], None],
    ) -> None:
        # The watcher names files by their whole path.
        self._path = path.absolute()
        self._current = current
        self._apply = apply

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                async for _ in awatch(
                    self._path.parent,
                    watch_filter=lambda _change, name: name == str(self._path),
                    rust_timeout=LOOK_S * 1000,
                    yield_on_timeout=True,
                    recursive=False,
                ):
                    self.look()
            except OSError as error:
                log.warning("settings not watched", reason=error.strerror)
                await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Read the file; apply it where it differs and is good."""
        try:
            found = read_settings(self._path, dict(os.environ), missing_ok=True)
        except VedetteError as error:
            log.warning("settings not applied, the old ones go on", reason=str(error))
            return
        if found == self._current:
            return
        self._current = found
        self._apply(found)
        log.info("settings applied", path=self._path)
