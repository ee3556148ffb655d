"""Opening a body that is kept: bounded, checked against its signed root, decoded once.

The gateway has checked who signed the header and that the body is the one it names. What is *in*
the body is first looked at here, in another process, in this order: the size the header states, the
packing, the number of records, the Merkle root over their salted leaves, and each record. Inflating
stops at the size that the header states, so a bomb costs no more than an honest batch.
"""

import zlib

from msgspec import Struct

from certs.identity import AgentId, TenantId
from collector.errors import AdmitRefused
from collector.ledger.ports import Stored
from collector.ports import Admitted, AdmittedBatch
from proto import codec, merkle
from proto.errors import RejectReason, WireError
from proto.model import RAW_BYTES_MAX, Body, Compression, Header, Record, RecordRef


class Opened(Struct, frozen=True):
    """A batch whose body is what its header says.

    Args:
        header: decoded.
        records: in their places; None where a record is of a kind that this version does not know.
        is_newer: something in it says more than this version understands.
    """

    header: Header
    records: tuple[Record | None, ...]
    is_newer: bool


def open_body(header: Header, body: bytes) -> Body:
    """Return what a body holds, its records still encoded.

    Args:
        header: whose signature has been checked.
        body: bytes that the header's digest binds; otherwise untrusted.

    Raises:
        AdmitRefused: it is not what the header says.
    """
    raw = _inflate(header, body)
    try:
        opened = codec.decode_body(raw)
        root = merkle.root_of(merkle.batch_leaves(opened.seed, opened.records))
    except WireError as error:
        raise AdmitRefused(error.reason, f"the body is malformed: {error.message}") from error
    if len(opened.records) != header.records:
        raise AdmitRefused(
            RejectReason.MALFORMED,
            f"{len(opened.records)} records, the header says {header.records}",
        )
    if root != header.root:
        raise AdmitRefused(RejectReason.PROOF, "the records have another root than was signed")
    return opened


def open_batch(stored: Stored) -> Opened:
    """Return what a kept batch says.

    Raises:
        AdmitRefused: the body is not what the header says, or a record is malformed.
    """
    try:
        header = codec.decode_header(stored.header)
        body = open_body(header, stored.body)
        decoded = [codec.decode_record(record) for record in body.records]
    except WireError as error:
        raise AdmitRefused(error.reason, f"a record is malformed: {error.message}") from error
    return Opened(
        header=header,
        records=tuple(record for record, _ in decoded),
        is_newer=any(newer for _, newer in decoded),
    )


def admitted(
    tenant: TenantId, stored: Stored, opened: Opened, *, trusted: bool, derived: bool
) -> AdmittedBatch:
    """Return a batch as the rooms below the verified mark see it."""
    header = opened.header
    return AdmittedBatch(
        tenant=tenant,
        position=stored.position,
        agent=AgentId(header.agent),
        received=stored.received,
        header=header,
        records=tuple(
            Admitted(RecordRef(header.agent, header.epoch, header.seq, index), record)
            for index, record in enumerate(opened.records)
            if record is not None
        ),
        trusted=trusted,
        derived=derived,
    )


def _inflate(header: Header, body: bytes) -> bytes:
    if not 0 <= header.raw_bytes <= RAW_BYTES_MAX:
        raise AdmitRefused(RejectReason.SIZE, f"a body of {header.raw_bytes} bytes is too large")
    match header.compression:
        case Compression.NONE:
            raw = body
        case Compression.ZLIB:
            raw = _unzip(body, header.raw_bytes)
        case _:
            raise AdmitRefused(RejectReason.VERSION, "the body is packed in a way not known here")
    if len(raw) != header.raw_bytes:
        raise AdmitRefused(
            RejectReason.SIZE, f"the body does not have the {header.raw_bytes} bytes it says"
        )
    return raw


def _unzip(body: bytes, size_bytes_max: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        # One byte more than stated is enough to know that there is more; 0 would mean no limit.
        raw = inflater.decompress(body, size_bytes_max + 1)
    except zlib.error as error:
        raise AdmitRefused(RejectReason.MALFORMED, "the body does not inflate") from error
    if len(raw) > size_bytes_max:
        raise AdmitRefused(RejectReason.SIZE, f"the body inflates to over {size_bytes_max} bytes")
    if not inflater.eof or inflater.unused_data:
        raise AdmitRefused(RejectReason.MALFORMED, "the body ends too early or too late")
    return raw
