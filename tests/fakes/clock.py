"""A clock that moves only when told."""

from runtime.clock import NS_PER_S


class FakeClock:
    """All three clocks, moved together by `forward` and apart by setting them."""

    def __init__(self) -> None:
        self.wall = 1_790_000_000 * NS_PER_S
        self.monotonic = 1_000 * NS_PER_S
        self.boot = 2_000 * NS_PER_S

    def forward(self, seconds: float) -> None:
        step = int(seconds * NS_PER_S)
        self.wall += step
        self.monotonic += step
        self.boot += step

    def wall_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic

    def boot_ns(self) -> int:
        return self.boot
