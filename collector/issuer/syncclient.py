"""Asking the issuer from a command line: one connection, one question, one answer."""

import socket
from pathlib import Path
from typing import TypeVar

from collector.errors import IssuerUnavailable
from collector.issuer.messages import (
    FRAME_BYTES_MAX,
    Failed,
    Reply,
    Request,
    decode_reply,
    encode,
    raise_failure,
)
from runtime.frames import BadFrame, FrameDecoder, encode_frame

READ_BYTES_MAX = 65_536
DEADLINE_S = 15.0

R = TypeVar("R", bound=Reply)


def ask(path: Path, request: Request, expected: type[R], deadline_s: float = DEADLINE_S) -> R:
    """Ask the issuer on a Unix socket and return its reply.

    Args:
        path: the issuer's socket.
        request: what is asked.
        expected: the kind of reply that answers it.
        deadline_s: how long each step may take.

    Raises:
        IssuerRefused: a rule was broken.
        IssuerBusy: a limit was reached.
        IssuerUnready: the issuer has a problem of its own.
        IssuerUnavailable: it does not answer.
    """
    try:
        reply = _exchange(path, request, deadline_s)
    except (OSError, BadFrame) as error:
        raise IssuerUnavailable(
            f"the issuer does not answer on {path}",
            hint="start the collector: vedette-collector run; or ask as the user it runs as",
        ) from error
    if isinstance(reply, Failed):
        raise_failure(reply)
    if not isinstance(reply, expected):
        raise IssuerUnavailable("the issuer answered something else")
    return reply


def _exchange(path: Path, request: Request, deadline_s: float) -> Reply:
    decoder = FrameDecoder(FRAME_BYTES_MAX)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(deadline_s)
        connection.connect(str(path))
        connection.sendall(encode_frame(encode(request)))
        while True:
            data = connection.recv(READ_BYTES_MAX)
            if not data:
                raise ConnectionResetError("the issuer closed the connection")
            frames = decoder.feed(data)
            if frames:
                return decode_reply(frames[0])
