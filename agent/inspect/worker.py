"""The loop of a worker: takes one request with one open file, answers it, takes the next.

Whoever asks also has a deadline; should it not be able to end this process, a timer of the kernel
does: it is set while a stranger's bytes are worked on and rests while the asker is slow to read.
"""

import contextlib
import os
import signal
import socket
import stat
from collections.abc import Callable, Generator
from typing import Final

from agent.errors import FailReason, InspectionFailed
from agent.inspect.gunzip import gunzip
from agent.inspectframes import (
    INSPECT_VERSION,
    MESSAGE_BYTES_MAX,
    Answer,
    Data,
    Done,
    Failed,
    Gunzip,
    Ready,
    Request,
    decode_request,
    encode,
)

MESSAGE_CHARS_MAX: Final = 200
_DESCRIPTORS_MAX: Final = 4  # one is right; more are closed and refused

Operation = Callable[[int, Request], Generator[Data, None, Done]]
OPERATIONS: Final[dict[type[Request], Operation]] = {Gunzip: gunzip}


def serve(line: socket.socket) -> None:
    """Answer requests until the asker hangs up.

    Raises:
        OSError: the line is broken.
    """
    _say(line, Ready(INSPECT_VERSION))
    while True:
        data, fds, _, _ = socket.recv_fds(
            line, MESSAGE_BYTES_MAX, _DESCRIPTORS_MAX, socket.MSG_CMSG_CLOEXEC
        )
        try:
            if not data:
                return
            _say(line, _answered(line, data, fds))
        finally:
            for fd in fds:
                os.close(fd)


def _answered(line: socket.socket, data: bytes, fds: list[int]) -> Answer:
    """Work on a request, say its pieces and return its last word."""
    try:
        request = decode_request(data)
        fd = _the_file(fds)
        deadline_s = request.deadline_ms / 1000
        pieces = OPERATIONS[type(request)](fd, request)
        while True:
            with _timer(deadline_s):
                try:
                    piece = next(pieces)
                except StopIteration as last:
                    done: Done = last.value
                    return done
            _say(line, piece)
    except InspectionFailed as error:
        return Failed(error.reason, error.message[:MESSAGE_CHARS_MAX])
    except MemoryError:
        return Failed(FailReason.TOO_LARGE, "takes more memory than there is for it")
    except OSError as error:
        return Failed(FailReason.UNREADABLE, os.strerror(error.errno or 0)[:MESSAGE_CHARS_MAX])


def _the_file(fds: list[int]) -> int:
    """Return the one descriptor that came.

    Raises:
        InspectionFailed: there is none, there are several, or it is no regular file.
    """
    if len(fds) != 1 or not stat.S_ISREG(os.fstat(fds[0]).st_mode):
        raise InspectionFailed("a request comes with one regular file", FailReason.REFUSED)
    return fds[0]


@contextlib.contextmanager
def _timer(seconds: float) -> Generator[None, None, None]:
    """Let the kernel end this process if the block takes longer."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _say(line: socket.socket, answer: Answer) -> None:
    line.sendmsg([encode(answer)])
