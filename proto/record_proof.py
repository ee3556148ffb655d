"""One record with all that proves it: what our proof files carry as ``extra``.

The record leads through its salt and path to the Merkle root in the batch header; the header is
signed by the agent's key; header and signature are the log entry that the proof file leads to a
checkpoint. So one record can be shown without showing its neighbours.

Written as JSON with base64 for bytes, so that an auditor can read it with common tools. There is
one spelling of each value: any other is refused, so no byte of a proof file can change unseen.
"""

from typing import Annotated, Literal

import msgspec

from proto.envelope import PAYLOAD_SIZE_BYTES_MAX, SIGNATURE_SIZE_BYTES_MAX
from proto.errors import Malformed, TooLarge
from proto.merkle import HASH_SIZE_BYTES, TreeHead, salted_leaf, verify_inclusion
from proto.model import RECORD_BYTES_MAX, RECORDS_MAX

EXTRA_SIZE_BYTES_MAX = 1024 * 1024
PATH_LENGTH_MAX = (RECORDS_MAX - 1).bit_length()

_Hash = Annotated[bytes, msgspec.Meta(min_length=HASH_SIZE_BYTES, max_length=HASH_SIZE_BYTES)]
_Index = Annotated[int, msgspec.Meta(ge=0, lt=RECORDS_MAX)]
_Record = Annotated[bytes, msgspec.Meta(max_length=RECORD_BYTES_MAX)]
_Path = Annotated[tuple[_Hash, ...], msgspec.Meta(max_length=PATH_LENGTH_MAX)]
_Header = Annotated[bytes, msgspec.Meta(max_length=PAYLOAD_SIZE_BYTES_MAX)]
_Signature = Annotated[bytes, msgspec.Meta(max_length=SIGNATURE_SIZE_BYTES_MAX)]


class RecordProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record, its way to the batch root, and the signed header that holds the root.

    Args:
        record: the exact bytes that were sealed.
        salt: of this record alone.
        index: position in the batch, from 0.
        path: hashes from the record's sibling up.
        header: the exact bytes that were signed.
        signature: over the header's PAE as a batch.
        public_key: the agent's raw signing key; its id is made from it.
    """

    version: Literal[1] = 1
    record: _Record
    salt: _Hash
    index: _Index
    path: _Path
    header: _Header
    signature: _Signature
    public_key: _Hash


_decoder = msgspec.json.Decoder(RecordProof)


def encode_record_proof(proof: RecordProof) -> bytes:
    """Return the bytes to put into a proof file as ``extra``.

    Raises:
        TooLarge: over ``EXTRA_SIZE_BYTES_MAX``.
        Malformed: a value is over its own limit, so nobody could read it back.
    """
    data = msgspec.json.encode(proof)
    parse_record_proof(data)
    return data


def parse_record_proof(data: bytes) -> RecordProof:
    """Read back what ``encode_record_proof`` wrote; nothing in it is verified.

    Args:
        data: untrusted bytes.

    Raises:
        TooLarge: over ``EXTRA_SIZE_BYTES_MAX``.
        Malformed: not a record proof, or not in its one spelling.
    """
    if len(data) > EXTRA_SIZE_BYTES_MAX:
        raise TooLarge(f"a record proof of {len(data)} bytes is over {EXTRA_SIZE_BYTES_MAX}")
    try:
        proof = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed("not a record proof") from error
    if msgspec.json.encode(proof) != data:
        raise Malformed("a record proof is not in its one spelling")
    return proof


def verify_record(proof: RecordProof, batch: TreeHead) -> None:
    """Check that the record stands at its index in the batch.

    Args:
        proof: untrusted.
        batch: record count and root, from a header whose signature has been checked.

    Raises:
        ProofRejected: it does not.
    """
    leaf = salted_leaf(proof.salt, proof.record)
    verify_inclusion(leaf, proof.index, proof.path, batch)
