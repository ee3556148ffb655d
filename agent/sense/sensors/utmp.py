"""Records of sessions: the fixed structures of utmp, wtmp, btmp and lastlog, read typed.

Source: utmp(5), lastlog(8), ``struct utmp`` and ``struct lastlog`` of glibc on machines where
``time_t`` of these structures has 32 bits, which are all that Linux runs on today but a few.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from agent.hosttext import host_text
from proto.model import Login, User
from runtime.clock import NS_PER_S

RECORD_BYTES: Final = 384
LASTLOG_BYTES: Final = 292
TEXT_CHARS_MAX: Final = 256

USER_PROCESS: Final = 7
DEAD_PROCESS: Final = 8

_RECORD: Final = struct.Struct("<hxxi32s4s32s256shhiII16s20x")
_LASTLOG: Final = struct.Struct("<I32s256s")
_US_MAX: Final = 999_999


class Session(Struct, frozen=True):
    """One record; ``at`` in nanoseconds UTC, ``address`` empty where it has none."""

    kind: int
    pid: int
    line: str
    user: str
    host: str
    address: str
    at: int

    def login(self, outcome: str) -> Login:
        """Return the record as a login: ``outcome`` says of which file it is."""
        remote: str | None = self.address or self.host or None
        name: str | UnsetType = self.user or UNSET
        return Login(
            session=self.pid,
            tty=self.line or None,
            remote_address=remote,
            outcome=outcome,
            user=User(name=name),
        )


def parse_session(data: bytes) -> Session | None:
    """Return one record; None where the bytes are not of its size.

    Args:
        data: untrusted, `RECORD_BYTES` of them.
    """
    if len(data) != RECORD_BYTES:
        return None
    kind, pid, line, _, user, host, _, _, _, seconds, micros, address = _RECORD.unpack(data)
    return Session(
        kind=kind,
        pid=pid,
        line=_text(line),
        user=_text(user),
        host=_text(host),
        address=_address(address),
        at=seconds * NS_PER_S + min(micros, _US_MAX) * 1000,
    )


def parse_lastlog(data: bytes, first_uid: int = 0) -> Iterator[tuple[int, Session]]:
    """Yield user number and last login of each record that is not empty.

    Args:
        data: untrusted; a last record that is cut is left out.
        first_uid: the number of the first record in ``data``.
    """
    for place in range(len(data) // LASTLOG_BYTES):
        raw = data[place * LASTLOG_BYTES : (place + 1) * LASTLOG_BYTES]
        seconds, line, host = _LASTLOG.unpack(raw)
        if seconds:
            at = seconds * NS_PER_S
            session = Session(USER_PROCESS, 0, _text(line), "", _text(host), "", at)
            yield first_uid + place, session


def _text(raw: bytes) -> str:
    return host_text(raw.partition(b"\0")[0], TEXT_CHARS_MAX)


def _address(raw: bytes) -> str:
    """Return the address; one of version 4 stands in the first four bytes of sixteen."""
    if not any(raw):
        return ""
    if not any(raw[4:]):
        return socket.inet_ntop(socket.AF_INET, raw[:4])
    return socket.inet_ntop(socket.AF_INET6, raw)
