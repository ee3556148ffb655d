"""A proof file for one record: all that ``vedette verify`` needs besides public keys.

It leads from the record through its salt to the batch's signed root, and from the signed header
through the transparency log to a signed checkpoint. No neighbour of the record is shown.
"""

from certs.identity import TenantId
from collector.errors import LedgerCorrupt, NotLogged
from collector.ledger.admit import open_body
from collector.ledger.log import LogReader
from collector.ledger.ports import Stored
from collector.ledger.reader import LedgerReader
from proto import codec, merkle
from proto.model import RecordRef
from proto.record_proof import RecordProof, encode_record_proof
from proto.tlog import LogProof, encode_proof


class Proofs:
    """Makes proofs from one tenant's ledger and log.

    Args:
        tenant: whose.
        ledger: reads the sealed batches.
        log: reads the transparency log.
    """

    def __init__(self, tenant: TenantId, ledger: LedgerReader, log: LogReader) -> None:
        self._tenant = tenant
        self._ledger = ledger
        self._log = log

    def proof_of(self, ref: RecordRef) -> bytes:
        """Return the proof file of a record.

        Raises:
            NotLogged: there is no such record, its batch was refused, or no checkpoint covers it
                yet.
            LedgerUnavailable: a file cannot be read now.
            LedgerCorrupt: a file is damaged.
            AdmitRefused: the batch is not what its header says.
        """
        stored = self._ledger.find(ref)
        if stored is None:
            raise NotLogged("there is no such batch in the ledger", hint="check the record's uid")
        inclusion = self._log.inclusion(self.find(stored.header_hash)[0])
        return encode_proof(
            LogProof(
                index=inclusion.index,
                path=inclusion.path,
                checkpoint=inclusion.checkpoint,
                extra=encode_record_proof(self._record_proof(stored, ref)),
            )
        )

    def find(self, header_hash: bytes) -> tuple[int, Stored]:
        """Return where a batch stands in the log, and the batch.

        Raises:
            NotLogged: there is no such batch, it was refused, or admit has not come to it yet.
            LedgerUnavailable: a file cannot be read now.
            LedgerCorrupt: a file is damaged.
        """
        for entry, position in self._log.positions(header_hash):
            stored = self._ledger.at(position)
            if stored is not None and stored.header_hash == header_hash:
                return entry, stored
        raise NotLogged("the log has no such batch", hint="ask again in a few seconds")

    def _record_proof(self, stored: Stored, ref: RecordRef) -> RecordProof:
        header = codec.decode_header(stored.header)
        body = open_body(header, stored.body)
        if not 0 <= ref.index < len(body.records):
            raise NotLogged("the batch has no such record", hint="check the record's uid")
        public_key = self._ledger.public_key(ref.agent)
        if public_key is None:
            raise LedgerCorrupt(f"the key of agent {ref.agent.hex()} is missing")
        nodes = merkle.nodes_of(merkle.batch_leaves(body.seed, body.records))
        return RecordProof(
            record=body.records[ref.index],
            salt=merkle.salt_of(body.seed, ref.index),
            index=ref.index,
            path=merkle.inclusion_proof(ref.index, len(body.records), nodes),
            header=stored.header,
            signature=stored.signature,
            public_key=public_key,
        )
