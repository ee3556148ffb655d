"""Nobody takes more descriptors than there are."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.sense.sensors.descriptors import RESERVED, Descriptors
from tests.agent.sense.sensors.driving import no_more_descriptors
from tests.fakes.clock import FakeClock


@contextmanager
def a_limit(number: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_is_open_is_not_free_and_some_are_kept_back() -> None:
    used = len(list(Path("/proc/self/fd").iterdir()))
    with a_limit(used + RESERVED + 10):
        before = Descriptors(FakeClock()).free()
        held = [os.open("/", os.O_PATH) for _ in range(4)]
        after = Descriptors(FakeClock()).free()

    for fd in held:
        os.close(fd)
    assert 0 < before <= 10
    assert after == before - 4


def test_without_any_there_is_none() -> None:
    with no_more_descriptors():
        assert Descriptors(FakeClock()).free() == 0


def test_plenty_is_believed_for_a_second_and_no_longer() -> None:
    clock = FakeClock()
    descriptors = Descriptors(clock)
    used = len(list(Path("/proc/self/fd").iterdir()))

    with a_limit(used + RESERVED + 200):
        before = descriptors.free()
        held = [os.open("/", os.O_PATH) for _ in range(20)]
        believed = descriptors.free()
        clock.forward(1)
        counted = descriptors.free()

    for fd in held:
        os.close(fd)
    assert believed == before > 100
    assert counted == before - 20
