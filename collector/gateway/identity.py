"""Renewal: who asks comes from the certificate shown, never from the request."""

from collector.gateway import messages
from collector.gateway.enforcement import Session
from collector.gateway.enrollment import certificate
from collector.gateway.follow import Issuer
from collector.gateway.registry import Registry
from collector.issuer.messages import Begun, Challenge, Issued, Renew, SignedStatement


class IdentityService:
    """Forwards to the issuer, who checks every proof itself.

    Every method raises Malformed or TooLarge for what is no request, and what `Issuer.call` raises.

    Args:
        issuer: who decides.
        registry: learns at once of a new certificate.
    """

    def __init__(self, issuer: Issuer, registry: Registry) -> None:
        self._issuer = issuer
        self._registry = registry

    async def challenge(self) -> bytes:
        """Return a nonce."""
        begun = await self._issuer.call(Challenge(), Begun)
        return messages.challenge_response(begun.nonce)

    async def renew(self, session: Session, request: bytes, source: str) -> bytes:
        """Return the certificate that follows the one shown.

        Args:
            session: who asks, by which certificate.
            request: untrusted bytes.
            source: the address of the socket.
        """
        asked = messages.parse_renew(request)
        issued = await self._issuer.call(
            Renew(
                peer=session.identity,
                serial=session.serial,
                csr=asked.csr,
                statement=SignedStatement(asked.payload, asked.signature),
                source=source,
            ),
            Issued,
        )
        return certificate(issued, self._registry)
