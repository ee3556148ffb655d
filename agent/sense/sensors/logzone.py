"""What a host says of its logs: its time zone, and whether logins go to a log of their own."""

import io
import struct
from datetime import UTC, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from agent.hostroot import HostFileError, HostRoot

# Debian's and Red Hat's.
AUTH_LOGS: Final = ("/var/log/auth.log", "/var/log/secure")

_ZONE_BYTES_MAX: Final = 64 * 1024


def zone_of(host: HostRoot) -> tzinfo:
    """Return the host's time zone; UTC where it has none that can be read."""
    try:
        return ZoneInfo.from_file(io.BytesIO(host.read_bytes("/etc/localtime", _ZONE_BYTES_MAX)))
    except (HostFileError, ValueError, struct.error, IndexError, EOFError):
        return UTC


def has_auth_log(host: HostRoot) -> bool:
    """Tell whether the host writes logins to a file, which then tells them."""
    for path in AUTH_LOGS:
        try:
            host.stat(path)
        except HostFileError:
            continue
        return True
    return False
