"""What a transparency log says: checkpoints, and proofs that one entry is in it.

A checkpoint is a signed note whose text is origin, size and root. A proof file (``.tlog-proof``)
holds an entry's index, its path and the checkpoint the path leads to, so it can be checked years
later with nothing but the log's public key. The opaque ``extra`` line is where the caller keeps
what is needed to rebuild the entry; it is not authenticated until that has been done.

An entry of our log is SHA-256(PAE || signature) of something signed: a batch header, or the signed
refusal of one. The PAE says its own length, so the two cannot be cut elsewhere.

A log belongs to one tenant and one generation of its ledger; its origin says which. A ledger that
was restored from a backup may have lost entries it had already signed for, so it may not continue
the old log and begins one of its own.

Source: C2SP tlog-checkpoint.md and tlog-proof.md (``c2sp.org/tlog-proof@v1``).
"""

import hashlib
from collections.abc import Sequence
from uuid import UUID

import msgspec

from certs.identity import TenantId
from proto.envelope import PayloadType, pae
from proto.errors import Malformed, TooLarge
from proto.merkle import (
    HASH_SIZE_BYTES,
    PATH_LENGTH_MAX,
    TREE_SIZE_MAX,
    TreeHead,
    leaf_hash,
    verify_inclusion,
)
from proto.note import (
    NoteKey,
    PrivateKey,
    decode_base64,
    encode_base64,
    open_note,
    parse_note,
    sign_note,
)

PROOF_SIZE_BYTES_MAX = 4 * 1024 * 1024
ORIGIN_SIZE_BYTES_MAX = 256
EXTENSIONS_MAX = 16

_PROOF_V1 = "c2sp.org/tlog-proof@v1"


class Checkpoint(msgspec.Struct, frozen=True):
    """A log's statement of how long it is and what it holds.

    Args:
        origin: the log's name, unique and without a scheme.
        head: size and root of its tree.
        extensions: further lines, opaque and not empty.
    """

    origin: str
    head: TreeHead
    extensions: tuple[str, ...] = ()


class LogProof(msgspec.Struct, frozen=True):
    """A proof file taken apart, nothing in it verified.

    Args:
        index: where the entry stands in the log, from 0.
        path: hashes from the entry's sibling up.
        checkpoint: the signed note, verbatim.
        extra: what the entry can be rebuilt from; empty when the file has none.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""


def log_leaf(payload_type: PayloadType, payload: bytes, signature: bytes) -> bytes:
    """Return the leaf hash under which something signed stands in the log."""
    entry = hashlib.sha256(pae(payload_type, payload) + signature).digest()
    return leaf_hash(entry)


def log_origin(domain: str, tenant: TenantId, generation: bytes) -> str:
    """Return the name of a tenant's log: its origin, and the name its key signs under.

    Args:
        domain: the trust domain.
        tenant: whose batches are in it.
        generation: of the ledger, 16 bytes.
    """
    return f"{domain}/log/{tenant}/{UUID(bytes=generation)}"


def encode_checkpoint(checkpoint: Checkpoint) -> str:
    """Return the text that a log signs.

    Raises:
        Malformed: origin, size, root or extensions cannot stand in a checkpoint.
    """
    head = checkpoint.head
    lines = (checkpoint.origin, str(head.size), encode_base64(head.root), *checkpoint.extensions)
    text = "".join(f"{line}\n" for line in lines)
    if parse_checkpoint(text) != checkpoint:
        raise Malformed("a line of the checkpoint holds a newline")
    return text


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint; whether it is signed is another question.

    Args:
        text: untrusted.

    Raises:
        Malformed: not a checkpoint.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise Malformed("a checkpoint is three or more lines, none empty")
    origin, size, root, *extensions = lines
    if len(origin.encode(errors="surrogatepass")) > ORIGIN_SIZE_BYTES_MAX:
        raise Malformed(f"an origin is over {ORIGIN_SIZE_BYTES_MAX} bytes")
    if len(extensions) > EXTENSIONS_MAX:
        raise Malformed(f"a checkpoint has more than {EXTENSIONS_MAX} extension lines")
    return Checkpoint(origin, TreeHead(_parse_size(size), _parse_hash(root)), tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, signer: PrivateKey) -> bytes:
    """Return the checkpoint as a note signed in the name of its origin.

    Args:
        checkpoint: consistent with every one signed before; the caller sees to that.
        signer: the log's private key.

    Raises:
        Malformed: it cannot be written as a checkpoint, or its origin cannot be a key name.
    """
    return sign_note(encode_checkpoint(checkpoint), checkpoint.origin, signer)


def open_checkpoint(note: bytes, keys: Sequence[NoteKey]) -> Checkpoint:
    """Return the checkpoint that a trusted log signed in its own name.

    Args:
        note: untrusted bytes.
        keys: the keys of trusted logs; each speaks for the origin that is its name, and no other.

    Raises:
        TooLarge: the note is over a limit.
        Malformed: it is not a signed note of a checkpoint.
        CheckpointRejected: no trusted key signed it in the name of its origin, or a signature that
            names such a key does not verify.
    """
    origin = parse_checkpoint(parse_note(note).text).origin
    return parse_checkpoint(open_note(note, [key for key in keys if key.name == origin]))


def encode_proof(proof: LogProof) -> bytes:
    """Return the proof file.

    Raises:
        Malformed: index, path or checkpoint cannot stand in one.
        TooLarge: it would be over ``PROOF_SIZE_BYTES_MAX``.
    """
    lines = [_PROOF_V1]
    if proof.extra:
        lines.append(f"extra {encode_base64(proof.extra)}")
    lines.append(f"index {proof.index}")
    lines.extend(encode_base64(sibling) for sibling in proof.path)
    data = "\n".join(lines).encode() + b"\n\n" + proof.checkpoint
    parse_proof(data)
    return data


def parse_proof(data: bytes) -> LogProof:
    """Take a proof file apart; nothing in it is verified.

    Args:
        data: untrusted bytes.

    Raises:
        TooLarge: over ``PROOF_SIZE_BYTES_MAX`` or ``PATH_LENGTH_MAX``.
        Malformed: not a proof file.
    """
    if len(data) > PROOF_SIZE_BYTES_MAX:
        raise TooLarge(f"a proof of {len(data)} bytes is over {PROOF_SIZE_BYTES_MAX}")
    above, blank, checkpoint = data.partition(b"\n\n")
    if not blank or not checkpoint:
        raise Malformed("a proof file holds no checkpoint")
    try:
        lines = above.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise Malformed("a proof file is not ASCII above its checkpoint") from error
    if lines.pop(0) != _PROOF_V1:
        raise Malformed(f"the first line is not {_PROOF_V1}")
    extra = _take(lines, "extra ")
    index = _take(lines, "index ")
    if index is None or extra == "":
        raise Malformed("a proof file has no index, or an empty extra line")
    if len(lines) > PATH_LENGTH_MAX:
        raise TooLarge(f"a path has {len(lines)} hashes, more than {PATH_LENGTH_MAX}")
    return LogProof(
        index=_parse_size(index),
        path=tuple(_parse_hash(line) for line in lines),
        checkpoint=checkpoint,
        extra=decode_base64(extra or ""),
    )


def verify_logged(proof: LogProof, leaf: bytes, keys: Sequence[NoteKey]) -> Checkpoint:
    """Check that the leaf is in a log that one of the keys signed for.

    Args:
        proof: untrusted.
        leaf: ``log_leaf`` of what the caller has verified.
        keys: the keys of trusted logs.

    Returns:
        The checkpoint it is in.

    Raises:
        TooLarge: the checkpoint is over a limit.
        Malformed: the checkpoint is not one.
        CheckpointRejected: no trusted key signed the checkpoint.
        ProofRejected: the leaf is not at that index of that tree.
    """
    checkpoint = open_checkpoint(proof.checkpoint, keys)
    verify_inclusion(leaf, proof.index, proof.path, checkpoint.head)
    return checkpoint


def _take(lines: list[str], prefix: str) -> str | None:
    if lines and lines[0].startswith(prefix):
        return lines.pop(0).removeprefix(prefix)
    return None


def _parse_size(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(TREE_SIZE_MAX)):
        raise Malformed("a size or index is not a decimal number")
    size = int(text)
    if str(size) != text or size > TREE_SIZE_MAX:
        raise Malformed("a size or index has leading zeroes or is too large")
    return size


def _parse_hash(text: str) -> bytes:
    value = decode_base64(text)
    if len(value) != HASH_SIZE_BYTES:
        raise Malformed(f"a hash is not {HASH_SIZE_BYTES} bytes long")
    return value
