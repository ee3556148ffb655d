"""What a host says of its logs: its time zone, and whether logins go to a log of their own."""

import io
import struct
from datetime import UTC, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from agent.hostroot import HostFileError, HostRoot
from runtime.clock import NS_PER_S

# Debian's and Red Hat's.
AUTH_LOGS: Final = ("/var/log/auth.log", "/var/log/secure")

# Sessions of cron alone write to it every hour.
QUIET_NS_MAX: Final = 7 * 86_400 * NS_PER_S

_ZONE_BYTES_MAX: Final = 64 * 1024


def zone_of(host: HostRoot) -> tzinfo:
    """Return the host's time zone; UTC where it has none that can be read."""
    try:
        return ZoneInfo.from_file(io.BytesIO(host.read_bytes("/etc/localtime", _ZONE_BYTES_MAX)))
    except (HostFileError, ValueError, struct.error, IndexError, EOFError):
        return UTC


def has_auth_log(host: HostRoot, now: int) -> bool:
    """Tell whether the host writes logins to a file, which then tells them.

    A file that nobody has written to for long is what a syslog daemon left that is gone.

    Args:
        host: whose logs.
        now: nanoseconds UTC.
    """
    for path in AUTH_LOGS:
        try:
            written = host.stat(path).st_mtime_ns
        except HostFileError:
            continue
        if now - written <= QUIET_NS_MAX:
            return True
    return False
