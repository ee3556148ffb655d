"""Records of sessions as glibc lays them out."""

import socket
import struct
from typing import Final

RECORD: Final = struct.Struct("<hxxi32s4s32s256shhiII16s20x")


def a_record(
    user: str = "alice",
    *,
    kind: int = 7,
    line: str = "pts/0",
    host: str = "",
    address: str = "",
    at: int = 1_700_000_000,
) -> bytes:
    packed = b""
    if address:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
    texts = line.encode(), b"ts/0", user.encode(), host.encode()
    return RECORD.pack(kind, 42, *texts, 0, 0, 0, at, 500, packed)
