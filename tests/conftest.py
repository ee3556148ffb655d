"""What every test runs under: no network but loopback, no deadline on properties, honest skips."""

import errno
import ipaddress
import logging
import os
import sys
from collections.abc import Iterator

import hypothesis
import pytest

PROVING = bool(os.environ.get("VEDETTE_PROVE"))

# A shared machine makes a deadline per example a coin toss; the timeout per test remains.
hypothesis.settings.register_profile("usual", deadline=None, max_examples=60)
hypothesis.settings.register_profile("prove", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("prove" if PROVING else "usual")


def stay_on_loopback(event: str, args: tuple[object, ...]) -> None:
    """Refuse any other address as a host without a network would."""
    if event not in {"socket.connect", "socket.sendto"}:
        return
    address = args[1]
    if not isinstance(address, tuple) or not isinstance(address[0], str):
        return  # a Unix or netlink address
    host = address[0].partition("%")[0]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        local = host in {"", "localhost"}
    else:
        local = ip.is_loopback or ip.is_unspecified
    if not local:
        raise OSError(errno.ENETUNREACH, f"tests stay on loopback, not {host}")


sys.addaudithook(stay_on_loopback)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs root where there is none."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def fault_count() -> int:
    """How often a sampled fault test repeats: 10, or 30 when proving."""
    return 30 if PROVING else 10


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A command that set up logging must not leave later tests a closed stream."""
    root_log = logging.getLogger()
    handlers, level = root_log.handlers[:], root_log.level
    yield
    root_log.handlers[:] = handlers
    root_log.setLevel(level)
