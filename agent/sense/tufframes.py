"""What `sense` and its TUF child say to each other over their socket pair.

`sense` gives one `Job`. The child asks for files with the door's own `Fetch` and gets for each one
of the door's own `Chunk`, which `sense` only passes on; its last word is a `Report` or a `Refusal`.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agent.doorframes import FRAME_BYTES_MAX, Chunk, Fetch
from proto.content.errors import ContentRefused, RefuseReason

BOOTSTRAP_BYTES_MAX: Final = 128 * 1024
CHAIN_BYTES_MAX: Final = 256 * 1024
MESSAGE_BYTES_MAX: Final = FRAME_BYTES_MAX
ROOTS_MAX: Final = 32

# Below the directory both work in: python-tuf's cache, and where the child leaves a new bundle.
CACHE: Final = "tuf"
INCOMING: Final = "incoming"
CANDIDATE: Final = "candidate"

_Blob = Annotated[bytes, Meta(max_length=CHAIN_BYTES_MAX)]
_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
_Role = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}\Z")]
_Text = Annotated[str, Meta(max_length=256)]


class Chain(Struct, frozen=True, array_like=True):
    """The metadata that leads from the pinned root to a bundle, as signed.

    ``roots`` are those after the pinned one, in order. ``delegated`` is empty where the top-level
    targets role signs for the bundle itself.
    """

    roots: Annotated[tuple[_Blob, ...], Meta(max_length=ROOTS_MAX)]
    timestamp: _Blob
    snapshot: _Blob
    targets: _Blob
    role: _Role
    delegated: _Blob = b""


class ChainFacts(Struct, frozen=True, array_like=True):
    """What a verified chain says; ``expires`` is its earliest end, in nanoseconds UTC."""

    root: _Count
    timestamp: _Count
    snapshot: _Count
    targets: _Count
    role: _Role
    role_version: _Count
    expires: _Count
    length: _Count
    sha256: _Hash


class Job(Struct, frozen=True, tag=40, array_like=True, kw_only=True):
    """What the child is to do.

    Args:
        directory: our own, for metadata and the bundle.
        bootstrap: the root metadata that ``trust.json`` pins.
        online: fetch what is new; else verify ``chain`` alone.
        now: the time we trust, in nanoseconds UTC.
        chain: the chain in use; None for none.
        have: SHA-256 of the bundle in use, which need not be fetched; empty for none.
        length_max: the largest bundle, in bytes.
        first_id: the number of its first `Fetch`.
    """

    directory: Annotated[str, Meta(max_length=4096)]
    bootstrap: Annotated[bytes, Meta(max_length=BOOTSTRAP_BYTES_MAX)]
    online: bool
    now: _Count
    chain: Chain | None
    have: Annotated[bytes, Meta(max_length=32)]
    length_max: _Count
    first_id: _Count


class Report(Struct, frozen=True, tag=41, array_like=True):
    """The chain verifies; ``fetched`` says that a new bundle lies in `CANDIDATE`."""

    chain: Chain
    facts: ChainFacts
    fetched: bool


class Refusal(Struct, frozen=True, tag=42, array_like=True):
    """The chain, the bundle or the mirror is no good; what is in use stays."""

    reason: RefuseReason
    message: _Text


ToChild = Job | Chunk
FromChild = Fetch | Report | Refusal

_encoder = msgspec.msgpack.Encoder()
_to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)


def encode(message: ToChild | FromChild) -> bytes:
    """Return a message's bytes, without the length in front."""
    return _encoder.encode(message)


def decode_to_child(data: bytes) -> ToChild:
    """Decode what `sense` said.

    Raises:
        ContentRefused: not one of the messages.
    """
    try:
        return _to_child.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ContentRefused(RefuseReason.CRASHED, "not a message for the child") from error


def decode_from_child(data: bytes) -> FromChild:
    """Decode what the child said; it has parsed what strangers sent, so it is not trusted far.

    Raises:
        ContentRefused: not one of the messages.
    """
    try:
        return _from_child.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ContentRefused(RefuseReason.CRASHED, "the child said what no child says") from error


def refusal_of(refused: ContentRefused) -> Refusal:
    """Return a refusal as a message: printable and cut."""
    return Refusal(refused.reason, ascii(refused.message)[1:-1][:256])
