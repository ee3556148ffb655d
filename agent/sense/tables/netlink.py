"""Dumps of the kernel's own tables over netlink: hand-packed requests, hand-read answers.

Source: the kernel's include/uapi/linux/netlink.h; netlink(7).
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import ClassVar, Final

from runtime.errors import Fault, VedetteError

ANSWER_WAIT_S_MAX: Final = 2.0
RECEIVE_BYTES: Final = 1 << 16
MESSAGES_MAX: Final = 1 << 20
NESTED: Final = 0x3FFF  # the two upper bits of an attribute's type are flags

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR: Final = struct.Struct("=i")
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_REQUEST_DUMP: Final = 0x301
_DUMP_INTR: Final = 0x10


class NetlinkRefused(VedetteError):
    """The kernel does not give this table, or not in its own form."""

    fault: ClassVar[Fault] = Fault.HOST


def dump(protocol: int, kind: int, payload: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each message of a dump.

    Args:
        protocol: of the netlink family.
        kind: of the request.
        payload: what follows its header.

    Raises:
        NetlinkRefused: the kernel answers with an error, changes the table meanwhile, or not at
            all.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as lane:
            lane.settimeout(ANSWER_WAIT_S_MAX)
            lane.bind((0, 0))
            size = _HEADER.size + len(payload)
            lane.sendto(_HEADER.pack(size, kind, _REQUEST_DUMP, 1, 0) + payload, (0, 0))
            for _ in range(MESSAGES_MAX):
                data, (sender, _) = lane.recvfrom(RECEIVE_BYTES)
                if sender:
                    continue  # only the kernel is number 0
                found, is_last = messages(data)
                yield from found
                if is_last:
                    return
    except TimeoutError as error:
        raise NetlinkRefused("netlink: no answer") from error
    except OSError as error:
        raise NetlinkRefused(f"netlink: {os.strerror(error.errno or 0).lower()}") from error


def messages(data: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    """Return type and content of the messages of one datagram, and whether the dump is over.

    Raises:
        NetlinkRefused: it holds an error, or is cut.
    """
    found: list[tuple[int, bytes]] = []
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= length <= len(data) - at:
            raise NetlinkRefused("netlink: a message is cut short")
        body = data[at + _HEADER.size : at + length]
        if flags & _DUMP_INTR:
            raise NetlinkRefused("netlink: the table changed while it was read; ask again")
        if kind in {_NLMSG_DONE, _NLMSG_ERROR}:
            number = -_ERROR.unpack_from(body)[0] if len(body) >= _ERROR.size else errno.EPROTO
            if number:
                raise NetlinkRefused(f"netlink: {os.strerror(abs(number)).lower()}")
            return found, True
        found.append((kind, body))
        at += length + 3 & ~3
    return found, False


def attributes(data: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield number and value of each attribute, in their order; a torn one ends them."""
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            return
        yield kind & NESTED, data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
