"""The gateway: two listeners, everything behind them, and an orderly end.

Server certificates are never reloaded inside a listener: under parallel handshakes that can crash
the process. ``rotate`` opens another listener on the same port with the new certificate, and lets
the old one finish; connections that come in between find either.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc.aio
from msgspec import Struct

from certs.channel import TlsIdentity, server_credentials
from certs.identity import TenantId
from certs.leaf import PeerReader
from certs.signatures import SigningKey
from collector.errors import CannotListen
from collector.gateway.content import ContentService
from collector.gateway.counts import GatewayCounts
from collector.gateway.enforcement import Enforcement
from collector.gateway.enrollment import EnrollmentService
from collector.gateway.follow import Follower, Issuer
from collector.gateway.handlers import Method, PolicedHandlers
from collector.gateway.health import HealthService
from collector.gateway.identity import IdentityService
from collector.gateway.logbook import LogService
from collector.gateway.methods import enrollment_methods, intake_methods
from collector.gateway.policy import POLICY, Listener
from collector.gateway.quota import Places
from collector.gateway.registry import Registry
from collector.gateway.settings import GatewaySettings, ServerSettings
from collector.gateway.states import LedgerStates
from collector.gateway.stream import Intake, Keeping
from collector.ledger.commit import CommitSettings
from collector.ledger.files import TenantFiles
from collector.ledger.receipts import ReceiptSigner
from collector.ledger.sqlite import SqliteLedger
from runtime.backoff import Backoff
from runtime.clock import Clock
from runtime.logs import logger
from runtime.supervise import cause, spawn


class Parts(Struct, frozen=True, kw_only=True):
    """What a gateway is made of.

    Args:
        domain: the trust domain.
        root_pem: the root above every tenant's authority.
        issuer: decides who gets a certificate, and knows who is let in.
        receipt_key: signs receipts.
        ledger: keeps batches.
        files: where the worker's logs lie.
        content_of: where a tenant's published content lies.
        clock: the source of time.
        random: floats in [0, 1), to spread retries.
    """

    domain: str
    root_pem: bytes
    issuer: Issuer
    receipt_key: SigningKey
    ledger: SqliteLedger
    files: TenantFiles
    content_of: Callable[[TenantId], Path]
    clock: Clock
    random: Callable[[], float]


class Addresses(Struct, frozen=True):
    """Where the two listeners are, as ``host:port``; port 0 for any that is free."""

    intake: str
    enrollment: str


class Gateway:
    """Serves agents; made on the event loop it runs on.

    Args:
        parts: what it is made of.
        addresses: where it listens.
        settings: its limits.
        commit: how much is written together.

    Raises:
        IdentityRefused: the domain is none.
    """

    def __init__(
        self,
        parts: Parts,
        addresses: Addresses,
        settings: GatewaySettings,
        commit: CommitSettings,
    ) -> None:
        self._parts = parts
        self._addresses = addresses
        self._settings = settings
        self.counts = GatewayCounts()
        self.registry = Registry(parts.clock, settings.trust.stale_s_max)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._states = LedgerStates(parts.ledger, parts.files)
        signer = ReceiptSigner(parts.receipt_key, parts.clock, self._states)
        self.intake = Intake(
            Keeping(parts.ledger, self._states, signer, commit),
            settings.stream,
            parts.clock,
            self.counts,
            self._fail,
        )
        reader = PeerReader(parts.domain, parts.root_pem)
        backoff = Backoff(wait_s_first=0.1, wait_s_max=2, random=parts.random)
        self._follower = Follower(parts.issuer, self.registry, reader, settings.trust, backoff)
        self._enforcement = Enforcement(
            reader,
            self.registry,
            parts.issuer,
            agent_places=Places("calls of this agent", settings.stream.calls_per_agent_max),
            tenant_places=Places("calls of this tenant", settings.stream.calls_per_tenant_max),
            clock=parts.clock,
        )
        self._servers: list[grpc.aio.Server] = []
        self.ports: dict[Listener, int] = {}
        self._log = logger(__name__)

    @property
    def is_serving(self) -> bool:
        """Whether a batch can be kept now, as far as is known."""
        return bool(self._servers) and not self._failed.done() and not self.registry.is_stale

    async def serve(self, tls: TlsIdentity, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until told to stop, then let what is under way be answered.

        Args:
            tls: the server's own key and certificates.
            stop: set from outside to end.
            ready: called once when calls are taken.

        Raises:
            CannotListen: an address or the certificate cannot be used.
            IssuerUnavailable: the issuer does not answer.
            VedetteError: the issuer has a problem of its own, or a writer of the ledger ended.
        """
        await self._follower.catch_up()
        self.intake.start()
        try:
            await self._serve(tls, stop, ready)
        finally:
            await self._close()

    async def rotate(self, tls: TlsIdentity) -> None:
        """Serve new connections with another certificate, on the same ports.

        Raises:
            CannotListen: the certificate cannot be used; the old listeners go on.
        """
        old = self._servers
        await self._open(tls)
        grace_s = self._settings.server.connection_grace_s_max
        await asyncio.gather(*(server.stop(grace_s) for server in old))

    async def _serve(
        self, tls: TlsIdentity, stop: asyncio.Event, ready: Callable[[], None]
    ) -> None:
        await self._open(tls)
        try:
            async with asyncio.TaskGroup() as group:
                following = [
                    spawn(group, self._follower.run(), "registry"),
                    spawn(group, self._states.run(), "log sizes"),
                ]
                ready()
                await self._until(stop)
                for task in following:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _until(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(stop.wait(), name="stop")
            await asyncio.wait((stopping, self._failed), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        if self._failed.done():
            await self._failed

    async def _open(self, tls: TlsIdentity) -> None:
        """Open both listeners, or neither."""
        opened: list[grpc.aio.Server] = []
        try:
            for listener in Listener:
                server, port = self._listener(listener, tls)
                opened.append(server)
                await server.start()
                self.ports[listener] = port
        except RuntimeError as error:
            for server in opened:
                await server.stop(0)
            raise CannotListen(
                f"cannot listen on {self._addresses.intake} and {self._addresses.enrollment}",
                hint="see that both are addresses of this machine and free",
            ) from error
        self._servers = opened
        self._log.info("listening", **{of.value: port for of, port in self.ports.items()})

    def _listener(self, listener: Listener, tls: TlsIdentity) -> tuple[grpc.aio.Server, int]:
        address = getattr(self._addresses, listener.value)
        if listener in self.ports:
            # The port that was free the first time is the one agents know now.
            address = f"{address.rpartition(':')[0]}:{self.ports[listener]}"
        mutual = listener is Listener.INTAKE
        server = grpc.aio.server(
            options=server_options(self._settings.server),
            maximum_concurrent_rpcs=self._settings.server.calls_max,
        )
        handlers = PolicedHandlers(
            listener,
            self._methods(listener),
            self._enforcement,
            self.counts,
            self._parts.clock,
        )
        server.add_generic_rpc_handlers((handlers,))
        root = self._parts.root_pem if mutual else None
        return server, server.add_secure_port(address, server_credentials(tls, root))

    def _methods(self, listener: Listener) -> dict[str, Method]:
        names = frozenset(name.split("/")[1] for of, name in POLICY if of is listener)
        health = HealthService(names, lambda: self.is_serving)
        if listener is Listener.ENROLLMENT:
            return enrollment_methods(EnrollmentService(self._parts.issuer, self.registry), health)
        return intake_methods(
            self.intake,
            IdentityService(self._parts.issuer, self.registry),
            ContentService(self._parts.content_of),
            LogService(self._states, self._parts.ledger),
            health,
        )

    async def _close(self) -> None:
        servers, self._servers = self._servers, []
        self.intake.end()
        grace_s = self._settings.server.stop_wait_s_max
        await asyncio.gather(*(server.stop(grace_s) for server in servers))
        if not await self.intake.stop():
            self._log.error("stopped before everything that waited was written")
        self._states.close()


def server_options(settings: ServerSettings) -> list[tuple[str, int]]:
    """Return the limits of a listener, as gRPC names them."""
    return [
        ("grpc.max_receive_message_length", settings.message_bytes_max),
        ("grpc.max_send_message_length", settings.message_bytes_max),
        # Without this the core reads ten times as far ahead as it is asked to.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", settings.unread_bytes_max),
        ("grpc.max_concurrent_streams", settings.connection_streams_max),
        ("grpc.max_metadata_size", settings.metadata_bytes_max),
        ("grpc.absolute_max_metadata_size", settings.metadata_bytes_max),
        ("grpc.max_connection_age_ms", settings.connection_age_s_max * 1000),
        ("grpc.max_connection_age_grace_ms", settings.connection_grace_s_max * 1000),
        ("grpc.max_connection_idle_ms", settings.connection_idle_s_max * 1000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", settings.ping_wait_s_min * 1000),
        ("grpc.http2.max_ping_strikes", settings.ping_strikes_max),
        ("grpc.keepalive_time_ms", settings.keepalive_s * 1000),
        ("grpc.keepalive_timeout_ms", settings.keepalive_wait_s_max * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
