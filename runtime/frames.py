"""Length-prefixed frames on a stream socket, without any IO.

A frame is a big-endian u32 length and that many bytes. The decoder is fed whatever the socket
gave and returns whole frames; a length above the cap is an error at once, before a byte of the
payload is kept, so a peer cannot make us buffer more than one frame.
"""

import struct
from typing import ClassVar

from runtime.errors import Fault, VedetteError

_LENGTH = struct.Struct(">I")


class BadFrame(VedetteError):
    """The peer announced an empty frame or one above the cap; the connection is of no more use."""

    fault: ClassVar[Fault] = Fault.PEER


def encode_frame(payload: bytes) -> bytes:
    """Return ``payload`` with its length in front."""
    return _LENGTH.pack(len(payload)) + payload


class FrameDecoder:
    """Turns a byte stream into frames.

    Args:
        size_bytes_max: the largest payload accepted.
    """

    def __init__(self, size_bytes_max: int) -> None:
        self._size_bytes_max = size_bytes_max
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add what the socket gave and return the frames that are whole now.

        Raises:
            BadFrame: a length of zero or above the cap.
        """
        self._pending += data
        frames = []
        while len(self._pending) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._pending)
            if not 0 < size <= self._size_bytes_max:
                self._pending.clear()
                raise BadFrame(f"frame of {size} bytes, allowed 1 to {self._size_bytes_max}")
            end = _LENGTH.size + size
            if len(self._pending) < end:
                break
            frames.append(bytes(self._pending[_LENGTH.size : end]))
            del self._pending[:end]
        return frames
