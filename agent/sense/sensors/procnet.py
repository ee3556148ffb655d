"""The socket table as text, from ``/proc/<pid>/net``: slower, and there when sock_diag is not.

It belongs to the network of the process it is read through, so that of process 1 is the host's even
when our own is not. Source: proc_pid_net(5).
"""

import contextlib
import socket
import struct
import sys
from typing import Final

from agent.hostroot import HostRoot
from agent.sense.sensors.procfs import ProcError
from agent.sense.sensors.sockrow import PROTOCOLS, STATES, End, SocketRow, row_of
from agent.sense.sensors.socksweep import Sweep

TABLE_BYTES_MAX: Final = 32 << 20

_SYN_RECV: Final = 3
_WORDS: Final = {8: struct.Struct("=I"), 32: struct.Struct("=IIII")}
_NETWORK_WORDS: Final = {8: struct.Struct(">I"), 32: struct.Struct(">IIII")}


class ProcNet:
    """Socket tables of one network.

    Args:
        host: where /proc is.
        process: whose network: ``self`` or ``1``.
    """

    def __init__(self, host: HostRoot, process: str) -> None:
        self._host = host
        self._process = process

    def sweep(self, protocol: str, sweep: Sweep) -> None:
        """Sweep the table of ``protocol``.

        Raises:
            HostFileError: there is no such table, or it is larger than `TABLE_BYTES_MAX`.
        """
        path = f"/proc/{self._process}/net/{protocol}"
        sweep_table(self._host.read_bytes(path, TABLE_BYTES_MAX), protocol, sweep)


def sweep_table(table: bytes, protocol: str, sweep: Sweep) -> None:
    """Sweep the text of a table; a line that is none is passed over.

    The key is both ends and the inode. A connection in TIME_WAIT has lost its inode; where a socket
    with its ends was known it is no news.
    """
    for line in table.split(b"\n")[1:]:
        fields = line.split(None, 10)
        if len(fields) < 10:
            continue
        ends = b"%s %s" % (fields[1], fields[2])
        was_known = ends in sweep.known or ends in sweep.now
        key = b"%s %s" % (ends, fields[9])
        is_news = sweep.is_news(key)
        if key in sweep.now:  # not left for the next sweep
            sweep.now.add(ends)
        if is_news and not (was_known and fields[9] == b"0"):
            with contextlib.suppress(ProcError):
                if row := parse_line(fields, protocol):
                    sweep.tell(key, row)


def parse_line(fields: list[bytes], protocol: str) -> SocketRow | None:
    """Read the fields of one line; None for a connection that is only half open.

    Raises:
        ProcError: they are not of a socket table.
    """
    try:
        state = int(fields[3], 16)
        owner = int(fields[7]), int(fields[9])
    except (ValueError, IndexError) as error:
        raise ProcError("not a line of /proc/net") from error
    if state == _SYN_RECV:
        return None
    if state not in STATES or not all(0 <= number < 1 << 63 for number in owner):
        raise ProcError("not a line of /proc/net")
    size = 4 if PROTOCOLS[protocol][0] == socket.AF_INET else 16
    return row_of(protocol, state, _end(fields[1], size), _end(fields[2], size), owner)


def _end(text: bytes, size: int) -> End:
    """Read ``0100007F:0016``: words of the address in the byte order of the machine, and a port."""
    digits, _, port = text.partition(b":")
    try:
        raw = bytes.fromhex(digits.decode("ascii"))
        number = int(port, 16)
    except ValueError as error:
        raise ProcError("not an address of /proc/net") from error
    if len(raw) != size or len(digits) != size * 2 or not 0 <= number <= 0xFFFF:
        raise ProcError("not an address of /proc/net")
    if sys.byteorder == "little":
        raw = _WORDS[size * 2].pack(*_NETWORK_WORDS[size * 2].unpack(raw))
    return raw, number
