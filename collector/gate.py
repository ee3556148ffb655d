"""The gateway process: its certificate from the issuer, its listeners, the ledger's writer."""

import asyncio
import os
import secrets
from collections.abc import Callable

from msgspec import Struct

from certs.channel import TlsIdentity
from certs.keyring import load_signing_key
from certs.p256 import P256Key
from certs.request import create_request
from collector.feeds.publish import content_dir
from collector.gateway.server import Addresses, Gateway, Parts
from collector.issuer.client import IssuerClient
from collector.issuer.messages import IssueServer, ServerIssued
from collector.ledger.files import TenantFiles
from collector.ledger.sqlite import SqliteLedger
from collector.settings import CollectorSettings
from runtime.backoff import Backoff
from runtime.clock import NS_PER_S, Clock
from runtime.errors import VedetteError
from runtime.logs import logger
from runtime.supervise import spawn

START_WAIT_S_MAX = 30
# Of a certificate's life: the rest is slack for an issuer that is away.
RENEW_SHARE = 0.5
RENEW_RETRY_S = 60

log = logger(__name__)


class Certificate(Struct, frozen=True):
    """The gateway's own certificate; ``renew_at`` in nanoseconds UTC."""

    tls: TlsIdentity
    renew_at: int


async def run(
    settings: CollectorSettings, clock: Clock, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Serve agents until told to stop.

    Raises:
        KeyUnusable: a key is missing: the collector was not set up.
        IssuerUnavailable: the issuer does not answer.
        CannotListen: an address cannot be used.
        OSError: the root certificate cannot be read.
    """
    receipt_key = load_signing_key(settings.paths.receipt_key)
    root_pem = settings.paths.root_certificate.read_bytes()
    files = TenantFiles(settings.paths.root)
    random = secrets.SystemRandom().random
    published = content_dir(settings.publishing)
    addresses = Addresses(settings.gateway.intake_address, settings.gateway.enrollment_address)
    issuer = IssuerClient(settings.paths.issuer_socket)
    ledger = SqliteLedger(files, clock, os.urandom)
    try:
        certificate = await _first(issuer, clock, random)
        parts = Parts(
            domain=settings.trust.domain,
            root_pem=root_pem,
            issuer=issuer,
            receipt_key=receipt_key,
            ledger=ledger,
            files=files,
            content_of=lambda _tenant: published,
            clock=clock,
            random=random,
        )
        gateway = Gateway(parts, addresses, settings.gateway.limits, settings.commit)
        async with asyncio.TaskGroup() as group:
            renewing = spawn(group, _keep_fresh(gateway, issuer, certificate, clock), "certificate")
            await gateway.serve(certificate.tls, stop, ready)
            renewing.cancel()
    finally:
        ledger.close()
        await issuer.close()


async def _first(issuer: IssuerClient, clock: Clock, random: Callable[[], float]) -> Certificate:
    """Ask for a certificate until the issuer, which may be starting, answers."""
    backoff = Backoff(wait_s_first=0.1, wait_s_max=2.0, random=random)
    end = clock.monotonic_ns() + START_WAIT_S_MAX * NS_PER_S
    while True:
        try:
            return await _issued(issuer, clock)
        except VedetteError as error:
            if not error.retryable or clock.monotonic_ns() > end:
                raise
        await asyncio.sleep(backoff.next_s())


async def _issued(issuer: IssuerClient, clock: Clock) -> Certificate:
    key = P256Key.generate()
    reply = await issuer.call(IssueServer(csr=create_request(key)), ServerIssued)
    now = clock.wall_ns()
    life = reply.not_after_ns - now
    return Certificate(TlsIdentity(reply.chain_pem, key), now + int(life * RENEW_SHARE))


async def _keep_fresh(
    gateway: Gateway, issuer: IssuerClient, certificate: Certificate, clock: Clock
) -> None:
    """Renew the server's certificate at half its life, by listeners that overlap."""
    while True:
        # The wall clock may jump, so it is looked at often rather than slept on.
        await asyncio.sleep(RENEW_RETRY_S)
        if clock.wall_ns() < certificate.renew_at:
            continue
        try:
            found = await _issued(issuer, clock)
            await gateway.rotate(found.tls)
        except VedetteError as error:
            log.warning("server certificate not renewed", reason=str(error))
            continue
        certificate = found
        log.info("server certificate renewed")
