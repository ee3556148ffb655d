"""The policy enforcement point: every call passes here, and every message of a stream again.

In this order, and nothing of a call is looked at before: the method stands in the table; TLS 1.3,
not resumed; one certificate of ours with exactly one name (`certs.leaf`), issued by the authority
of the tenant it names; the agent is known and let in; the serial number is the current one or the
next; the certificate has not expired; the quota is not used up.

TLS alone would not do: a resumed connection, an open stream and a valid chain all outlive what they
were granted for.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol

from certs.errors import IdentityRefused
from certs.identity import PeerIdentity
from certs.leaf import PeerCertificate, PeerReader
from certs.signatures import VerifyKey
from collector.errors import AccessDenied, CollectorError, Denial
from collector.gateway.follow import Issuer
from collector.gateway.quota import Places
from collector.gateway.registry import Registry, Row, Watched
from collector.issuer.agents import State, serial_bytes
from collector.issuer.errors import IssuerRefused
from collector.issuer.messages import Activate, Standing
from runtime.clock import NS_PER_S, Clock
from runtime.logs import logger

_CERTIFICATE: Final = "x509_pem_cert"
_VERSION: Final = "ssl_tls_version"
_RESUMED: Final = "ssl_session_reused"


class Call(Protocol):
    """What is asked of a call under way (`grpc.aio.ServicerContext`)."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what TLS knows of the peer."""
        ...


class Session:
    """A caller who was let in, for as long as nothing has changed.

    Args:
        peer: from its certificate.
        row: of the registry.
        watched: set when the row changes.
        registry: asked again then.
        clock: for the certificate's end.
    """

    def __init__(
        self,
        peer: PeerCertificate,
        row: Row,
        watched: Watched,
        registry: Registry,
        clock: Clock,
    ) -> None:
        self.identity: PeerIdentity = peer.identity
        self.key: VerifyKey = row.key
        self.key_id = row.key.key_id
        self.serial = serial_bytes(peer.serial)
        self.changed = watched.changed
        self._peer = peer
        self._registry = registry
        self._clock = clock

    @property
    def life_s(self) -> float:
        """How long the certificate still holds."""
        return (self._peer.not_after_ns - self._clock.wall_ns()) / NS_PER_S

    def check(self) -> None:
        """Ask everything again that can change while a stream is open.

        Raises:
            AccessDenied: something has.
        """
        if self.changed.is_set():
            self.changed.clear()
            check_row(self._registry.find(self.identity), self.serial)
        if self._registry.is_stale:
            raise AccessDenied(
                Denial.STALE_REGISTRY, "revocations cannot be checked now", hint="try again later"
            )
        check_life(self._peer, self._clock.wall_ns())


def check_row(row: Row | None, serial: bytes) -> Row:
    """Return the agent's row if it may come by this certificate.

    Raises:
        AccessDenied: it is unknown, revoked or locked, or has a newer certificate.
    """
    if row is None:
        raise AccessDenied(Denial.UNKNOWN_AGENT, "this agent is not enrolled here")
    if row.state is not State.ACTIVE:
        raise AccessDenied(
            Denial.REVOKED,
            f"this agent is {row.state.value}",
            hint="an operator decides whether it may come back",
        )
    if serial not in row.serials:
        raise AccessDenied(
            Denial.SERIAL, "this certificate was replaced by a newer one", hint="use the newer one"
        )
    return row


def check_life(peer: PeerCertificate, now_ns: int) -> None:
    """Return if the certificate holds now.

    Raises:
        AccessDenied: it has expired, or does not hold yet.
    """
    try:
        peer.check_time(now_ns)
    except IdentityRefused as error:
        raise AccessDenied(Denial.EXPIRED, error.message, hint="renew or re-attest") from error


def check_transport(context: Mapping[str, Iterable[bytes]]) -> None:
    """Return if the call came over a full TLS 1.3 handshake.

    Raises:
        AccessDenied: another version, or a resumed session.
    """
    if list(context.get(_VERSION, ())) != [b"TLSv1.3"]:
        raise AccessDenied(Denial.TRANSPORT, "TLS 1.3 is required")
    if list(context.get(_RESUMED, ())) != [b"false"]:
        raise AccessDenied(Denial.TRANSPORT, "a resumed TLS session is not accepted")


class Enforcement:
    """Decides on calls.

    Args:
        reader: reads certificates.
        registry: knows agents.
        issuer: told when a new certificate is first used.
        agent_places: how many calls one agent may have open.
        tenant_places: how many calls one tenant's agents may have open.
        clock: for certificates.
    """

    def __init__(  # noqa: PLR0913  (one for each question of the order above)
        self,
        reader: PeerReader,
        registry: Registry,
        issuer: Issuer,
        *,
        agent_places: Places,
        tenant_places: Places,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._registry = registry
        self._issuer = issuer
        self._agent_places = agent_places
        self._tenant_places = tenant_places
        self._clock = clock
        self._log = logger(__name__)

    def enter_open(self, call: Call) -> None:
        """Let in who has no certificate yet, for one call.

        Raises:
            AccessDenied: the connection is not as it must be.
        """
        check_transport(call.auth_context())

    @asynccontextmanager
    async def enter(self, call: Call) -> AsyncIterator[Session]:
        """Let an agent in, for one call.

        Args:
            call: as TLS and gRPC know it.

        Raises:
            AccessDenied: something of the order above does not hold.
        """
        context = call.auth_context()
        check_transport(context)
        peer = self._read(context)
        row = check_row(self._registry.find(peer.identity), serial_bytes(peer.serial))
        with self._registry.watching(peer.identity) as watched:
            session = Session(peer, row, watched, self._registry, self._clock)
            session.check()
            with (
                self._tenant_places.one(peer.identity.tenant),
                self._agent_places.one(peer.identity),
            ):
                await self._activate(session, row)
                yield session

    def _read(self, context: Mapping[str, Iterable[bytes]]) -> PeerCertificate:
        shown = list(context.get(_CERTIFICATE, ()))
        if len(shown) != 1:
            raise AccessDenied(Denial.IDENTITY, "a client certificate is required")
        try:
            return self._reader.read(shown[0])
        except IdentityRefused as error:
            raise AccessDenied(Denial.IDENTITY, error.message, hint=error.hint) from error

    async def _activate(self, session: Session, row: Row) -> None:
        """Tell the issuer of the first use of a certificate, so that the one before ends."""
        if session.serial != row.next_serial:
            return
        request = Activate(peer=session.identity, serial=session.serial)
        try:
            standing = await self._issuer.call(request, Standing)
        except IssuerRefused as error:
            raise AccessDenied(Denial.SERIAL, error.message, hint=error.hint) from error
        except CollectorError as error:
            # Both certificates hold until the issuer is back; the next call tells it.
            self._log.warning("first use of a certificate not told", error=error)
            return
        self._registry.apply((standing.agent,))
