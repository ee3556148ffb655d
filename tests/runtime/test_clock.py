import time
from pathlib import Path

import pytest

from runtime.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock, boot_id


def test_the_system_clock_reads_the_clocks_of_the_machine() -> None:
    clock: Clock = SystemClock()

    assert abs(clock.wall_ns() - time.time_ns()) < NS_PER_S
    assert abs(clock.monotonic_ns() - time.monotonic_ns()) < NS_PER_S
    assert abs(clock.boot_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) < NS_PER_S


def test_clocks_for_waiting_and_for_ages_never_go_back() -> None:
    clock = SystemClock()

    before = (clock.monotonic_ns(), clock.boot_ns())
    time.sleep(0.002)
    after = (clock.monotonic_ns(), clock.boot_ns())

    assert all(b - a >= NS_PER_MS for a, b in zip(before, after, strict=True))


def test_the_boot_id_is_read_as_sixteen_bytes(tmp_path: Path) -> None:
    path = tmp_path / "boot_id"
    path.write_text("01020304-0506-0708-090a-0b0c0d0e0f10\n")

    assert boot_id(path) == bytes(range(1, 17))


@pytest.mark.parametrize("text", [None, "not hex"])
def test_a_host_without_a_boot_id_has_the_zero_one(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "boot_id"
    if text is not None:
        path.write_text(text)

    assert boot_id(path) == bytes(16)
