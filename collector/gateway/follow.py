"""Keeps the gateway's copy of the registry level with the issuer's.

The issuer answers as soon as something has changed, so a revocation is known here within
milliseconds; and at least every few seconds, so that silence is never taken for peace.
"""

import asyncio
from typing import Final, Protocol, TypeVar

from certs.errors import AuthorityUnusable
from certs.leaf import PeerReader
from collector.errors import CollectorError
from collector.gateway.registry import Registry
from collector.gateway.settings import TrustFeedSettings
from collector.issuer.messages import Changes, Reply, Request, Tenant, Watch
from runtime.backoff import Backoff
from runtime.logs import logger

R = TypeVar("R", bound=Reply)

_DEADLINE_SPARE_S: Final = 5.0


class Issuer(Protocol):
    """Whom the gateway asks (`collector.issuer.client.IssuerClient`)."""

    async def call(self, request: Request, expected: type[R], deadline_s: float = 15.0) -> R:
        """Ask and return the reply.

        Raises:
            IssuerRefused: a rule was broken.
            IssuerBusy: a limit was reached.
            IssuerUnready: the issuer has a problem of its own.
            IssuerUnavailable: it does not answer; the same request may be sent again.
        """
        ...


class Follower:
    """Follows the issuer's changes.

    Args:
        issuer: whom to ask.
        registry: the copy.
        reader: told of the tenants' authorities.
        settings: how often.
        backoff: how long to wait when the issuer does not answer.
    """

    def __init__(
        self,
        issuer: Issuer,
        registry: Registry,
        reader: PeerReader,
        settings: TrustFeedSettings,
        backoff: Backoff,
    ) -> None:
        self._issuer = issuer
        self._registry = registry
        self._reader = reader
        self._settings = settings
        self._backoff = backoff
        self._revision = 0
        self._log = logger(__name__)

    async def catch_up(self) -> None:
        """Learn everything once; before that nobody can be let in.

        Raises:
            IssuerUnavailable: the issuer does not answer.
            IssuerRefused: the issuer does not take this process for a gateway.
            IssuerBusy: the issuer asks to be left alone for a while.
            IssuerUnready: the issuer has a problem of its own.
        """
        while await self._ask(wait_s=0):
            pass

    async def run(self) -> None:
        """Follow for ever."""
        is_lost = False
        while True:
            try:
                await self._ask(self._settings.watch_wait_s)
            except CollectorError as error:
                if not is_lost:
                    self._log.warning("issuer lost", error=error, age_s=self._registry.age_s)
                is_lost = True
                await asyncio.sleep(self._backoff.next_s())
                continue
            if is_lost:
                self._log.info("issuer found again")
            is_lost = False
            self._backoff.reset()

    async def _ask(self, wait_s: float) -> bool:
        """Take one answer in; return whether there is more to learn at once."""
        changes = await self._issuer.call(
            Watch(after=self._revision, wait_s=wait_s), Changes, wait_s + _DEADLINE_SPARE_S
        )
        # A tenant's authority first: its agents may be in the same answer.
        for tenant in changes.tenants:
            self._trust(tenant)
        self._registry.apply(changes.agents)
        self._revision = changes.revision
        if not changes.more:
            self._registry.level()
        return changes.more

    def _trust(self, tenant: Tenant) -> None:
        for authority_pem in tenant.authorities_pem:
            try:
                self._reader.trust(tenant.tenant, authority_pem)
            except AuthorityUnusable as error:
                self._log.error(
                    "tenant's authority not usable", tenant=str(tenant.tenant), error=error
                )
