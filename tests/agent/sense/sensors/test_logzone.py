"""The host says its own time zone, and whether it has a log for logins."""

import os
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.sensors.logzone import AUTH_LOGS, QUIET_NS_MAX, has_auth_log, zone_of

NOW = 1_790_000_000_000_000_000


@pytest.mark.parametrize("path", AUTH_LOGS)
def test_a_host_with_a_log_for_logins_has_one(tmp_path: Path, path: str) -> None:
    log = tmp_path / path.lstrip("/")
    with HostRoot(tmp_path) as host:
        before = has_auth_log(host, NOW)
        log.parent.mkdir(parents=True)
        log.touch()
        os.utime(log, ns=(NOW, NOW))

        assert (before, has_auth_log(host, NOW)) == (False, True)
        assert has_auth_log(host, NOW + QUIET_NS_MAX)
        assert has_auth_log(host, NOW - QUIET_NS_MAX)


def test_a_log_that_a_syslog_daemon_left_behind_is_none(tmp_path: Path) -> None:
    log = tmp_path / AUTH_LOGS[0].lstrip("/")
    log.parent.mkdir(parents=True)
    log.touch()
    os.utime(log, ns=(NOW, NOW))

    with HostRoot(tmp_path) as host:
        assert not has_auth_log(host, NOW + QUIET_NS_MAX + 1)


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda b: b"TZif2" + bytes(15) + b))
def test_any_bytes_as_a_time_zone_are_one_or_utc(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    root = tmp_path_factory.getbasetemp() / "zone"
    (root / "etc").mkdir(parents=True, exist_ok=True)
    (root / "etc/localtime").write_bytes(data)

    with HostRoot(root) as host:
        zone = zone_of(host)

    assert datetime(2026, 1, 1, tzinfo=zone).utcoffset() is not None
