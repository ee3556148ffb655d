"""A source of exec records: they wait until they are read, and some may be lost."""

from collections.abc import Sequence

from agent.sense.sensors.execrecord import ExecRecord


class FakeArgv:
    """Gives the records it was given, in order."""

    def __init__(self) -> None:
        self._waiting: list[ExecRecord] = []
        self.losses = 0
        self.is_closed = False

    def tell(self, *records: ExecRecord) -> None:
        """Let there be records."""
        self._waiting += records

    def fileno(self) -> int:
        """Return no descriptor: nobody waits for this."""
        return -1

    def receive(self, records_max: int) -> Sequence[ExecRecord]:
        """Return what waits."""
        taken, self._waiting = self._waiting[:records_max], self._waiting[records_max:]
        return taken

    def close(self) -> None:
        """Note that nobody reads any more."""
        self.is_closed = True
