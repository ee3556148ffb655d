"""The one closed statement that the signing key makes outside batches.

`ship` supplies the hash of its new TLS key and the collector's nonce; every other field is written
here. At most four an hour, and each is sealed as a record, so a fallen `ship` can neither stockpile
statements nor have them signed unseen.
"""

from collections import deque

from msgspec import Struct

from agent.errors import DoorError
from agent.sense.seal import HostFacts
from proto import codec, envelope
from proto.envelope import PayloadType, Signer
from proto.model import Argument, Audit, Statement, StatementKind
from runtime.clock import NS_PER_S, Clock

STATEMENTS_PER_HOUR_MAX = 4
_HOUR_NS = 3600 * NS_PER_S
_ALLOWED = frozenset({StatementKind.RENEW, StatementKind.REATTEST})


class SignedStatement(Struct, frozen=True):
    """A statement as bytes, its signature, and the record that tells of it."""

    payload: bytes
    signature: bytes
    audit: Audit


class StatementDesk:
    """Signs statements, at its own pace.

    Args:
        key: the signing key.
        public_key: its raw public half.
        facts: of this host.
        clock: for the stamp and the hourly cap.
    """

    def __init__(self, key: Signer, public_key: bytes, facts: HostFacts, clock: Clock) -> None:
        self._key = key
        self._public_key = public_key
        self._facts = facts
        self._clock = clock
        self._signed_at: deque[int] = deque(maxlen=STATEMENTS_PER_HOUR_MAX)

    def sign(self, kind: StatementKind, spki_sha256: bytes, nonce: bytes) -> SignedStatement:
        """Make the statement that binds a TLS key to this agent.

        Raises:
            DoorError: not a kind that may be asked for, or too many in the last hour.
        """
        if kind not in _ALLOWED:
            raise DoorError("this statement is not signed on request")
        now = self._clock.boot_ns()
        if len(self._signed_at) == STATEMENTS_PER_HOUR_MAX and (
            now - self._signed_at[0] < _HOUR_NS
        ):
            raise DoorError(f"more than {STATEMENTS_PER_HOUR_MAX} statements in an hour")
        self._signed_at.append(now)
        return make_statement(
            self._key, self._public_key, self._facts, self._clock, (kind, spki_sha256, nonce)
        )


def make_statement(
    key: Signer,
    public_key: bytes,
    facts: HostFacts,
    clock: Clock,
    asked: tuple[StatementKind, bytes, bytes],
) -> SignedStatement:
    """Sign a statement; ``asked`` is its kind, the SPKI hash and the collector's nonce."""
    kind, spki_sha256, nonce = asked
    payload = codec.encode_statement(
        Statement(
            version=1,
            kind=kind,
            tenant=facts.tenant,
            agent=facts.agent,
            public_key=public_key,
            spki_sha256=spki_sha256,
            nonce=nonce,
            wall=clock.wall_ns(),
            boot_id=facts.boot_id,
            host_name=facts.host_name,
        )
    )
    audit = Audit(
        actor="sense",
        action=f"statement.{kind.value}",
        subject="tls key",
        outcome="signed",
        at=clock.wall_ns(),
        detail=(Argument("spki_sha256", spki_sha256.hex()), Argument("nonce", nonce.hex())),
    )
    return SignedStatement(payload, envelope.sign(PayloadType.STATEMENT, payload, key), audit)
