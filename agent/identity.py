"""Who this agent is: written once by enrolment, read by both halves, secret to nobody."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from agent.errors import NotEnrolled
from certs.identity import AgentId, PeerIdentity, TenantId
from runtime.files import write_atomic

IDENTITY_BYTES_MAX = 4096
SIGNING_KEY = "signing.pem"
_FILE = "identity.json"


class AgentIdentity(Struct, frozen=True, forbid_unknown_fields=True):
    """An agent, its tenant, and where its collector answers."""

    tenant: Annotated[str, Meta(max_length=36)]
    agent: Annotated[str, Meta(max_length=36)]
    domain: Annotated[str, Meta(max_length=256)]
    # host:port of the intake and of the enrolment listener.
    intake: Annotated[str, Meta(max_length=300)]
    enrollment: Annotated[str, Meta(max_length=300)]

    @property
    def peer(self) -> PeerIdentity:
        """The identity as certificates carry it.

        Raises:
            IdentityRefused: an id is not one.
        """
        return PeerIdentity(TenantId.parse(self.tenant), AgentId.parse(self.agent))


def load_identity(directory: Path) -> AgentIdentity:
    """Return the identity kept in a directory.

    Raises:
        NotEnrolled: there is none, or it cannot be read.
    """
    path = directory / _FILE
    try:
        with path.open("rb") as file:
            data = file.read(IDENTITY_BYTES_MAX + 1)
        # What is longer than an identity is none: no bytes are none, either.
        whole = data if len(data) <= IDENTITY_BYTES_MAX else b""
        return msgspec.json.decode(whole, type=AgentIdentity)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotEnrolled(
            f"no usable identity in {directory}",
            hint="run vedette-agent enroll with a token from vedette-collector token",
        ) from error


def save_identity(directory: Path, identity: AgentIdentity) -> None:
    """Keep the identity in a directory.

    Raises:
        OSError: it cannot be made durable.
    """
    write_atomic(directory / _FILE, msgspec.json.encode(identity), mode=0o644)
