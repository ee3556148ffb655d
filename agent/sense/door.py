"""The door of the privileged half: one Unix socket, one visitor, a closed set of frames.

The visitor is the networked half and may have fallen. It is let in only with the right user id; a
frame that no honest visitor sends closes the door for a while. Nothing it does can block, fill the
memory of, or stop the loop behind the door.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from agent.doorframes import (
    FRAME_BYTES_MAX,
    FromSense,
    decode_from_ship,
    encode,
)
from agent.errors import DoorError
from runtime.clock import NS_PER_S, Clock
from runtime.errors import VedetteError
from runtime.files import fsync_dir
from runtime.frames import BadFrame, FrameDecoder, encode_frame
from runtime.logs import logger

CLOSED_S = 10
# How long nobody is let in after there was no descriptor for a visitor.
DEAF_S = 5
_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
FRAMES_PER_S_MAX = 2_000
PENDING_BYTES_MAX = 4 * 1024 * 1024
_READ_BYTES = 256 * 1024
_UCRED = struct.Struct("iII")

log = logger(__name__)


class Tongue(Struct, frozen=True):
    """What a visitor speaks.

    Args:
        decode: makes a frame of bytes; raises a VedetteError for what is none.
        frame_bytes_max: the largest frame.
        frames_per_s_max: more than so many are as bad as one that is none.
    """

    decode: Callable[[bytes], object]
    frame_bytes_max: int = FRAME_BYTES_MAX
    frames_per_s_max: int = FRAMES_PER_S_MAX


class Door:
    """Listens, admits one visitor at a time and hands its frames on.

    The visitor is `ship`, unless it speaks another tongue.

    Args:
        path: where the socket is bound; its directory belongs to `sense`.
        peer_uid: the only user id let in.
        clock: for the closed time and the rate cap.
        on_frame: takes each frame; a VedetteError it raises is the visitor's fault.
        tongue: what the visitor speaks; None for what `ship` does.
    """

    def __init__(
        self,
        path: Path,
        peer_uid: int,
        clock: Clock,
        on_frame: Callable[[Any], None],
        tongue: Tongue | None = None,
    ) -> None:
        self._path = path
        self._peer_uid = peer_uid
        self._clock = clock
        self._on_frame = on_frame
        self._listener: socket.socket | None = None
        self._visitor: socket.socket | None = None
        self._tongue = tongue or Tongue(decode_from_ship)
        self._decoder = FrameDecoder(self._tongue.frame_bytes_max)
        self._out = bytearray()
        self._closed_until = 0
        self._window_start = 0
        self._window_frames = 0
        self._deaf_until = 0
        self.refused = 0

    @property
    def has_visitor(self) -> bool:
        """Whether somebody is connected."""
        return self._visitor is not None

    def open(self, group: int | None = None) -> None:
        """Bind and listen.

        Args:
            group: numeric group that may connect; None leaves the socket to its owner.

        Raises:
            OSError: the path cannot be bound.
        """
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener = listener
        try:
            listener.bind(str(self._path))
            if group is not None:
                os.chown(self._path, -1, group)
            self._path.chmod(0o660)
            listener.listen(4)
            fsync_dir(self._path.parent)
        except OSError:
            listener.close()
            self._listener = None
            raise

    def close(self) -> None:
        """Let the visitor go and stop listening; harmless when repeated."""
        self._dismiss()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    def readable(self) -> list[int]:
        """Return the descriptors to wait on for reading."""
        # Nobody can be let in without a descriptor: who knocks meanwhile is no reason to wake up.
        is_deaf = self._clock.boot_ns() < self._deaf_until
        sockets = (None if is_deaf else self._listener, self._visitor)
        return [item.fileno() for item in sockets if item is not None]

    def due(self) -> int | None:
        """Return when the door is listened at again, where it is not."""
        return self._deaf_until if self._clock.boot_ns() < self._deaf_until else None

    def writable(self) -> list[int]:
        """Return the descriptors to wait on for writing."""
        return [self._visitor.fileno()] if self._visitor is not None and self._out else []

    def serve(self, descriptor: int) -> bool:
        """Do what a ready descriptor allows; return whether a visitor has just been let in."""
        if self._listener is not None and descriptor == self._listener.fileno():
            return self._admit()
        if self._visitor is not None and descriptor == self._visitor.fileno():
            self._flush()
            self._read()
        return False

    def send(self, frame: FromSense) -> None:
        """Queue a frame for the visitor, if there is one; who does not read is let go."""
        if self._visitor is None:
            return
        self._out += encode_frame(encode(frame))
        self._flush()
        if len(self._out) > PENDING_BYTES_MAX:
            log.warning("visitor does not read, door closed", bytes=len(self._out))
            self._shut()

    def _admit(self) -> bool:
        assert self._listener is not None  # noqa: S101  (the caller has seen its descriptor)
        try:
            visitor, _ = self._listener.accept()
        except OSError as error:
            # Gone again: the next one will try again.
            if error.errno in _NO_DESCRIPTORS:
                self._deaf_until = self._clock.boot_ns() + DEAF_S * NS_PER_S
            return False
        uid = _UCRED.unpack(visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[
            1
        ]
        is_closed = self._clock.boot_ns() < self._closed_until
        if uid != self._peer_uid or is_closed:
            self.refused += 1
            visitor.close()
            return False
        # A second visit of the right user replaces the first: the half behind it has restarted.
        self._dismiss()
        visitor.setblocking(False)  # noqa: FBT003  (the standard library's own signature)
        self._visitor = visitor
        self._decoder = FrameDecoder(self._tongue.frame_bytes_max)
        return True

    def _read(self) -> None:
        if self._visitor is None:
            return
        try:
            data = self._visitor.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._dismiss()
            return
        try:
            for raw in self._decoder.feed(data):
                self._count_frame()
                self._on_frame(self._tongue.decode(raw))
        except (BadFrame, VedetteError) as error:
            log.warning("bad frame, door closed", reason=str(error), closed_s=CLOSED_S)
            self._shut()

    def _count_frame(self) -> None:
        now = self._clock.boot_ns()
        if now - self._window_start > NS_PER_S:
            self._window_start, self._window_frames = now, 0
        self._window_frames += 1
        frames_max = self._tongue.frames_per_s_max
        if self._window_frames > frames_max:
            raise DoorError(f"more than {frames_max} frames in a second")

    def _flush(self) -> None:
        while self._visitor is not None and self._out:
            try:
                sent = self._visitor.send(self._out)
            except BlockingIOError:
                return
            except OSError:
                self._dismiss()
                return
            del self._out[:sent]

    def _shut(self) -> None:
        self._closed_until = self._clock.boot_ns() + CLOSED_S * NS_PER_S
        self.refused += 1
        self._dismiss()

    def _dismiss(self) -> None:
        if self._visitor is not None:
            self._visitor.close()
            self._visitor = None
        self._out.clear()
