"""The names of things: tenants, agents, and the one URI that carries both in a certificate.

An identity on the wire is ``spiffe://<tenant-uuid>.<domain>/agent/<agent-uuid>``. There is exactly
one spelling of it: lower case, canonical UUIDs, no port, user, query, fragment, escape or trailing
slash. Whatever differs by one byte is refused, so two strings never name one peer.

An agent's id is made from its signing key (UUIDv8), so nobody can add a key to an id, and anyone
who holds the public key can recompute the id offline.

Source: SPIFFE-ID section 2, X509-SVID section 2; RFC 9562 section 5.8 (UUIDv8).
"""

import hashlib
import re
import uuid
from typing import Self

import msgspec

from certs.errors import IdentityReason, IdentityRefused

DOMAIN_CHARS_MAX = 180
SPIFFE_URI_CHARS_MAX = 512

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUID_TEXT = re.compile(_UUID)
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label of a DNS name is never all digits (RFC 1123): 10.0.0.256 is no name.
_DOMAIN = re.compile(rf"(?!(?:.*\.)?[0-9]+\Z){_LABEL}(?:\.{_LABEL})*")
_SPIFFE = re.compile(rf"spiffe://({_UUID})\.([a-z0-9.-]+)/agent/({_UUID})")
_AGENT_ID_CONTEXT = b"vedette.agent-id.v1\0"
_SIGNING_KEY_BYTES = 32

# Inside the id classes the name ``bytes`` is a field.
_Raw = bytes


class _Id(msgspec.Struct, frozen=True, order=True):
    """Sixteen bytes, shown as a UUID."""

    bytes: bytes

    def __post_init__(self) -> None:
        if len(self.bytes) != 16:
            raise IdentityRefused(
                IdentityReason.ID, f"an id has 16 bytes, this one {len(self.bytes)}"
            )

    def __str__(self) -> str:
        """The canonical lower-case UUID."""
        return str(uuid.UUID(bytes=self.bytes))

    @classmethod
    def from_bytes(cls, raw: _Raw) -> Self:
        """Return the id that these 16 bytes are.

        Raises:
            IdentityRefused: not 16 bytes.
        """
        return cls(raw)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the id written in ``text``; only the canonical lower-case form is read.

        Raises:
            IdentityRefused: any other spelling.
        """
        if _UUID_TEXT.fullmatch(text) is None:
            raise IdentityRefused(
                IdentityReason.ID,
                "not an id",
                hint="ids are written as lower-case UUIDs: 8-4-4-4-12 hexadecimal digits",
            )
        return cls(uuid.UUID(text).bytes)


class TenantId(_Id, frozen=True, order=True):
    """A customer, or the reserved tenant of the platform itself."""


class AgentId(_Id, frozen=True, order=True):
    """One signing key, and so one agent."""

    @property
    def is_derived(self) -> bool:
        """Whether the id has the form of a key's hash (UUID version 8)."""
        return self.bytes[6] >> 4 == 8 and self.bytes[8] >> 6 == 2


class PeerIdentity(msgspec.Struct, frozen=True, order=True):
    """Who is at the other end of a connection."""

    tenant: TenantId
    agent: AgentId


def agent_id_of(signing_public_raw: bytes) -> AgentId:
    """Return the id of the agent that owns this raw 32-byte Ed25519 public key.

    Raises:
        IdentityRefused: not 32 bytes.
    """
    if len(signing_public_raw) != _SIGNING_KEY_BYTES:
        raise IdentityRefused(IdentityReason.ID, "an agent's signing key has 32 bytes")
    raw = bytearray(hashlib.sha256(_AGENT_ID_CONTEXT + signing_public_raw).digest()[:16])
    raw[6] = 0x80 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    return AgentId(bytes(raw))


def parse_domain(text: str) -> str:
    """Return ``text`` where it is a trust domain: a lower-case DNS name, at most 180 characters.

    Raises:
        IdentityRefused: anything else.
    """
    if len(text) > DOMAIN_CHARS_MAX or _DOMAIN.fullmatch(text) is None:
        raise IdentityRefused(
            IdentityReason.DOMAIN,
            "not a trust domain",
            hint="use a lower-case DNS name of at most 180 characters, such as vedette.example.org",
        )
    return text


def tenant_host(tenant: TenantId, domain: str) -> str:
    """Return the host part of a tenant's URIs, which is also its name constraint."""
    return f"{tenant}.{domain}"


def spiffe_uri(identity: PeerIdentity, domain: str) -> str:
    """Return the one spelling of an identity under a trust domain."""
    return f"spiffe://{tenant_host(identity.tenant, domain)}/agent/{identity.agent}"


def parse_spiffe(uri: str, domain: str) -> PeerIdentity:
    """Return the identity that a certificate's URI names.

    Args:
        uri: untrusted text of any length.
        domain: our own trust domain, already checked by ``parse_domain``.

    Raises:
        IdentityRefused: another scheme, domain, path or spelling, or an id not made from a key.

    Source: SPIFFE-ID section 2.
    """
    if len(uri) > SPIFFE_URI_CHARS_MAX:
        raise IdentityRefused(IdentityReason.SIZE, "the identity is too long")
    match = _SPIFFE.fullmatch(uri)
    if match is None:
        raise IdentityRefused(IdentityReason.URI, "the identity has not the form of an agent's")
    tenant, found_domain, agent = match.groups()
    if found_domain != domain:
        raise IdentityRefused(IdentityReason.DOMAIN, "the identity belongs to another trust domain")
    identity = PeerIdentity(TenantId.parse(tenant), AgentId.parse(agent))
    if not identity.agent.is_derived:
        raise IdentityRefused(IdentityReason.ID, "the agent's id is not made from a key")
    return identity
