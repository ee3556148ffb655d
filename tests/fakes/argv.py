"""A source of exec records: they wait until they are read, and some may be lost."""

import os
from collections.abc import Sequence

from agent.sense.sensors.execrecord import ExecRecord


class FakeArgv:
    """Gives the records it was given, in order."""

    def __init__(self) -> None:
        self._waiting: list[ExecRecord] = []
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.losses = 0

    def tell(self, *records: ExecRecord) -> None:
        """Let there be records."""
        self._waiting += records
        os.eventfd_write(self._fd, 1)

    @property
    def is_closed(self) -> bool:
        """Whether nobody reads any more."""
        return self._fd < 0

    def fileno(self) -> int:
        """Return the descriptor that is readable while records wait; -1 once closed."""
        return self._fd

    def receive(self, records_max: int) -> Sequence[ExecRecord]:
        """Return what waits."""
        taken, self._waiting = self._waiting[:records_max], self._waiting[records_max:]
        if taken and not self._waiting:
            os.eventfd_read(self._fd)
        return taken

    def close(self) -> None:
        """Let go of the descriptor; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
