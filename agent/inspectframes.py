"""What `sense` asks of an inspection worker and what it answers: a closed set of bounded frames.

MessagePack, one frame a message of a sequenced-packet socket. A request comes with the descriptor
of one open file and names no path. One request is answered at a time, in pieces, and ends in `Done`
or `Failed`. What a worker answers is a stranger's: it has read hostile bytes.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from agent.errors import FailReason, InspectionFailed

INSPECT_VERSION = 1
MESSAGE_BYTES_MAX = 64 * 1024
CHUNK_BYTES = 32 * 1024
DEADLINE_MS_MAX = 600_000

_Size = Annotated[int, Meta(ge=0, le=2**62)]
_Deadline = Annotated[int, Meta(ge=1, le=DEADLINE_MS_MAX)]


class Gunzip(Struct, frozen=True, tag=1, array_like=True):
    """Inflate a gzip file from an offset of what it holds.

    ``inflated_bytes_max`` and ``ratio_max`` bound what the whole file may hold, in bytes and in
    bytes for each byte of the file; ``deadline_ms`` is how long each piece of the answer may take.
    """

    offset: _Size = 0
    size_bytes_max: Annotated[int, Meta(ge=1, le=1 << 40)] = 16 * 1024 * 1024
    inflated_bytes_max: _Size = 8 << 30
    ratio_max: Annotated[int, Meta(ge=1, le=1100)] = 300
    deadline_ms: _Deadline = 20_000


Request = Gunzip


class Ready(Struct, frozen=True, tag=10, array_like=True):
    """The worker is shut in and takes requests; first of all it says."""

    version: _Size


class Data(Struct, frozen=True, tag=11, array_like=True):
    """Part of what a file holds, from ``offset`` on; `CHUNK_BYTES` but for the last."""

    offset: _Size
    data: Annotated[bytes, Meta(min_length=1, max_length=CHUNK_BYTES)]


class Done(Struct, frozen=True, tag=12, array_like=True):
    """The request is answered; ``is_end`` says that nothing follows what was given."""

    is_end: bool


class Failed(Struct, frozen=True, tag=13, array_like=True):
    """The request came to nothing, or to no more than was given."""

    reason: FailReason
    message: Annotated[str, Meta(max_length=200)]


Answer = Ready | Data | Done | Failed

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode(frame: Request | Answer) -> bytes:
    """Return a frame's bytes."""
    return _encoder.encode(frame)


def decode_request(data: bytes) -> Request:
    """Decode what `sense` asks.

    Raises:
        InspectionFailed: not one of the frames.
    """
    try:
        return _requests.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InspectionFailed("not a request", FailReason.GARBAGE) from error


def decode_answer(data: bytes) -> Answer:
    """Decode what a worker answers; untrusted.

    Raises:
        InspectionFailed: not one of the frames.
    """
    try:
        return _answers.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InspectionFailed("not an answer of a worker", FailReason.GARBAGE) from error
