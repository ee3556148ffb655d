"""The tenant's transparency log, for its agents: checkpoints, and proofs that nothing was changed.

An agent is shown where its own batches stand. Another's header hash is not found, as if it were
not there.
"""

import asyncio

from certs.identity import TenantId
from collector.errors import LedgerUnavailable, NotLogged
from collector.gateway import messages
from collector.gateway.enforcement import Session
from collector.gateway.states import LedgerStates
from collector.ledger.log import LogReader
from collector.ledger.proofs import Proofs
from collector.ledger.sqlite import SqliteLedger
from proto.codec import decode_header


class LogService:
    """Answers from the worker's files; every look at a disk is on another thread.

    Every method raises Malformed or TooLarge for what is no request, and LedgerError for a file
    that cannot be read.

    Args:
        states: opens logs.
        ledger: knows which batch a header hash names.
    """

    def __init__(self, states: LedgerStates, ledger: SqliteLedger) -> None:
        self._states = states
        self._ledger = ledger

    async def checkpoint(self, session: Session) -> bytes:
        """Return the newest checkpoint; an empty one where none has been signed yet."""
        try:
            log = await self._states.log(session.identity.tenant)
            note = await asyncio.to_thread(log.checkpoint)
        except (NotLogged, LedgerUnavailable):
            note = b""
        return messages.checkpoint_response(note)

    async def proof(self, session: Session, request: bytes) -> bytes:
        """Return where one of the agent's own batches stands.

        Raises:
            NotLogged: there is no such batch, or no checkpoint covers it yet.
        """
        header_hash, size = messages.parse_proof(request)
        log = await self._states.log(session.identity.tenant)
        found = await asyncio.to_thread(self._find, session, log, header_hash)
        inclusion = await asyncio.to_thread(log.inclusion, found, size)
        return messages.proof_response(inclusion.index, inclusion.path, inclusion.checkpoint)

    async def consistency(self, session: Session, request: bytes) -> bytes:
        """Return the proof that the log of one size continues that of another.

        Raises:
            NotLogged: the log has not grown so far.
            ProofRejected: no proof leads from the one size to the other.
        """
        first, second = messages.parse_consistency(request)
        log = await self._states.log(session.identity.tenant)
        hashes = await asyncio.to_thread(log.consistency, first, second)
        return messages.consistency_response(hashes)

    def _find(self, session: Session, log: LogReader, header_hash: bytes) -> int:
        tenant: TenantId = session.identity.tenant
        ledger = self._ledger.reader(tenant)
        entry, stored = Proofs(tenant, ledger, log).find(header_hash)
        if decode_header(stored.header).agent != session.identity.agent.bytes:
            raise NotLogged("the log has no such batch", hint="ask again in a few seconds")
        return entry
