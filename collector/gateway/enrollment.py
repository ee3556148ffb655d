"""Joining: what a host without a certificate may ask. Every answer is the issuer's."""

from certs.errors import IdentityRefused
from certs.identity import TenantId
from collector.gateway import messages
from collector.gateway.follow import Issuer
from collector.gateway.registry import Registry
from collector.issuer.messages import Begin, Begun, Enroll, Issued, Reattest, SignedStatement
from proto.errors import Malformed


class EnrollmentService:
    """Forwards to the issuer, who checks every proof itself.

    Every method raises Malformed or TooLarge for what is no request, and what `Issuer.call` raises.

    Args:
        issuer: who decides.
        registry: learns at once of an agent that has joined.
    """

    def __init__(self, issuer: Issuer, registry: Registry) -> None:
        self._issuer = issuer
        self._registry = registry

    async def begin(self, request: bytes) -> bytes:
        """Return a nonce and what the tenant's hosts trust."""
        try:
            tenant = TenantId.from_bytes(messages.parse_begin(request))
        except IdentityRefused as error:
            raise Malformed("a tenant's id has 16 bytes") from error
        begun = await self._issuer.call(Begin(tenant=tenant), Begun)
        return messages.begin_response(begun.nonce, begun.trust)

    async def enroll(self, request: bytes, source: str) -> bytes:
        """Turn a join token into a first certificate.

        Args:
            request: untrusted bytes.
            source: the address of the socket.
        """
        asked = messages.parse_enroll(request)
        issued = await self._issuer.call(
            Enroll(
                secret=asked.secret,
                csr=asked.csr,
                statement=SignedStatement(asked.payload, asked.signature),
                source=source,
            ),
            Issued,
        )
        return self._certificate(issued)

    async def reattest(self, request: bytes, source: str) -> bytes:
        """Give an agent whose certificate has expired another, by its signing key.

        Args:
            request: untrusted bytes.
            source: the address of the socket.
        """
        asked = messages.parse_reattest(request)
        statement = SignedStatement(asked.payload, asked.signature)
        issued = await self._issuer.call(
            Reattest(csr=asked.csr, statement=statement, source=source), Issued
        )
        return self._certificate(issued)

    def _certificate(self, issued: Issued) -> bytes:
        return certificate(issued, self._registry)


def certificate(issued: Issued, registry: Registry) -> bytes:
    """Return a certificate as its agent gets it, after the registry has learned of it."""
    registry.apply((issued.agent,))
    return messages.certificate_response(
        chain=issued.chain_pem,
        agent=issued.agent.identity.agent.bytes,
        not_after=issued.not_after_ns,
        generation=issued.generation,
    )
