"""A meter of CPU and memory that shows what a test set, and charges for what is read."""

from tests.fakes.clock import FakeClock


class FakeMeter:
    """CPU time grows with the clock and with every charge.

    Args:
        clock: moved by a test or a loop.
        cpu_percent: of a core, taken whatever happens.
    """

    def __init__(self, clock: FakeClock, cpu_percent: float = 0) -> None:
        self.clock = clock
        self.cpu_percent = cpu_percent
        self.memory = 0
        self._charged = 0
        self._base = 0.0
        self._at = clock.boot_ns()

    def charge(self, cpu_ns: int) -> None:
        """Take CPU time, as reading something does."""
        self._charged += cpu_ns

    def cpu_ns(self) -> int:
        now = self.clock.boot_ns()
        self._base += (now - self._at) * self.cpu_percent / 100
        self._at = now
        return int(self._base) + self._charged

    def memory_bytes(self) -> int:
        return self.memory
