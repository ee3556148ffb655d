"""What the two halves of the agent say to each other: a closed set of bounded frames.

MessagePack, one frame a message (`runtime.frames`), tagged by number. Both sides speak
`DOOR_VERSION` and the one before it; `Hello` comes first in each direction. The privileged half
answers, stores or ignores; nothing that arrives here names a path, a command or a sensor.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from agent.errors import DoorError
from proto.model import HintKind, StatementKind

DOOR_VERSION = 1
FRAME_BYTES_MAX = 512 * 1024
CHUNK_BYTES_MAX = 256 * 1024

_Name = Annotated[str, Meta(max_length=200)]
_Bytes = Annotated[bytes, Meta(max_length=64 * 1024)]
_Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
_Id16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Hello(Struct, frozen=True, tag=0, array_like=True):
    """Who speaks; ``tenant`` and ``agent`` are empty from `ship`."""

    version: _Count
    tenant: Annotated[bytes, Meta(max_length=16)] = b""
    agent: Annotated[bytes, Meta(max_length=16)] = b""


class Uplink(Struct, frozen=True, tag=1, array_like=True):
    """Whether the collector is connected."""

    is_online: bool


class ReceiptFrame(Struct, frozen=True, tag=2, array_like=True):
    """A receipt as the collector signed it."""

    payload: _Bytes
    signature: _Bytes
    key_id: _Bytes


class SignRequest(Struct, frozen=True, tag=3, array_like=True):
    """`ship` needs a statement to renew or re-attest its certificate."""

    id: _Count
    kind: StatementKind
    spki_sha256: _Hash
    nonce: Annotated[bytes, Meta(min_length=16, max_length=64)]


class HintFrame(Struct, frozen=True, tag=4, array_like=True):
    """The collector's hint, passed on."""

    kind: HintKind


class Chunk(Struct, frozen=True, tag=5, array_like=True):
    """Part of a content file that was asked for; ``error`` instead of data when it failed."""

    id: _Count
    data: Annotated[bytes, Meta(max_length=CHUNK_BYTES_MAX)]
    total: _Count
    error: _Name = ""


class Damaged(Struct, frozen=True, tag=6, array_like=True):
    """A segment in which `ship` could not read every entry; `sense` looks for itself."""

    segment: _Name


class MetricsWanted(Struct, frozen=True, tag=7, array_like=True):
    """Somebody scrapes the agent."""


class CheckpointFrame(Struct, frozen=True, tag=8, array_like=True):
    """A log checkpoint and the proof that it extends the one last verified."""

    note: _Bytes
    proof: Annotated[tuple[_Hash, ...], Meta(max_length=128)]


class VisibleSegment(Struct, frozen=True, array_like=True):
    """A segment may be read up to ``durable``."""

    name: _Name
    epoch: _Id16
    durable: _Count


class VisibleFrame(Struct, frozen=True, tag=20, array_like=True):
    """What may be read now. ``is_all`` says that whatever is not listed is gone."""

    segments: Annotated[tuple[VisibleSegment, ...], Meta(max_length=4096)]
    is_all: bool


class Signed(Struct, frozen=True, tag=21, array_like=True):
    """The answer to a `SignRequest`; ``refused`` says why not."""

    id: _Count
    payload: _Bytes
    signature: _Bytes
    refused: _Name = ""


class Fetch(Struct, frozen=True, tag=22, array_like=True):
    """`sense` wants a content file, from an offset on."""

    id: _Count
    name: _Name
    offset: _Count


class Sample(Struct, frozen=True, array_like=True):
    """One metric value; labels as (name, value) pairs."""

    name: _Name
    labels: tuple[tuple[_Name, _Name], ...]
    value: float


class MetricsFrame(Struct, frozen=True, tag=23, array_like=True):
    """The privileged half's metrics, for the other to serve."""

    samples: Annotated[tuple[Sample, ...], Meta(max_length=4096)]


class KnownCheckpoint(Struct, frozen=True, tag=24, array_like=True):
    """The log size `sense` has verified, from which `ship` asks for consistency."""

    size: _Count


FromShip = (
    Hello
    | Uplink
    | ReceiptFrame
    | SignRequest
    | HintFrame
    | Chunk
    | Damaged
    | MetricsWanted
    | CheckpointFrame
)
FromSense = Hello | VisibleFrame | Signed | Fetch | MetricsFrame | KnownCheckpoint

_encoder = msgspec.msgpack.Encoder()
_from_ship: msgspec.msgpack.Decoder[FromShip] = msgspec.msgpack.Decoder(FromShip)
_from_sense: msgspec.msgpack.Decoder[FromSense] = msgspec.msgpack.Decoder(FromSense)


def encode(frame: FromShip | FromSense) -> bytes:
    """Return a frame's bytes, without the length in front."""
    return _encoder.encode(frame)


def decode_from_ship(data: bytes) -> FromShip:
    """Decode what `ship` sent; untrusted.

    Raises:
        DoorError: not one of the frames.
    """
    try:
        return _from_ship.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DoorError("not a frame of this door") from error


def decode_from_sense(data: bytes) -> FromSense:
    """Decode what `sense` sent.

    Raises:
        DoorError: not one of the frames.
    """
    try:
        return _from_sense.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DoorError("not a frame of this door") from error
