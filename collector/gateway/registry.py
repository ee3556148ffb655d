"""The gateway's copy of the issuer's registry: who there is, and who is no longer welcome.

The copy is kept level by `collector.gateway.follow`. A change that concerns an open session reaches
it at once: its holder races ``Watched.changed`` against whatever else it waits for.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from msgspec import Struct

from certs.errors import KeyUnusable
from certs.identity import PeerIdentity
from certs.signatures import VerifyKey
from collector.issuer.agents import Agent, State
from runtime.clock import NS_PER_S, Clock
from runtime.logs import logger

_NEVER: Final = -(1 << 62)


class Row(Struct, frozen=True):
    """What counts of an agent at the gateway.

    Args:
        key: what its batches are signed with; from enrolment, never from a message.
        serials: of the certificates it may come by: the current one and the next.
        next_serial: the one whose first use makes it current; empty where there is none.
        state: whether it is let in.
        revision: marks the last change.
    """

    key: VerifyKey
    serials: frozenset[bytes]
    next_serial: bytes
    state: State
    revision: int


class Watched:
    """One open session's view of its agent: an event that any change of the row sets."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()


class Registry:
    """All agents of all tenants, in memory; used on the event loop alone.

    Args:
        clock: for the age of the copy.
        stale_s_max: how old the copy may be.
    """

    def __init__(self, clock: Clock, stale_s_max: float) -> None:
        self._clock = clock
        self._stale_ns_max = int(stale_s_max * NS_PER_S)
        self._level_ns = _NEVER
        self._rows: dict[PeerIdentity, Row] = {}
        self._watched: dict[PeerIdentity, set[Watched]] = {}
        self._log = logger(__name__)

    @property
    def age_s(self) -> float:
        """How long ago the copy was level with the issuer's."""
        return (self._clock.monotonic_ns() - self._level_ns) / NS_PER_S

    @property
    def is_stale(self) -> bool:
        """Whether a revocation could have been missed."""
        return self._clock.monotonic_ns() - self._level_ns > self._stale_ns_max

    def __len__(self) -> int:
        """How many agents are known."""
        return len(self._rows)

    def find(self, identity: PeerIdentity) -> Row | None:
        """Return an agent's row; None where the issuer knows none of that id in that tenant."""
        return self._rows.get(identity)

    def level(self) -> None:
        """Take note that everything the issuer knows is here."""
        self._level_ns = self._clock.monotonic_ns()

    def apply(self, agents: Sequence[Agent]) -> None:
        """Take changes in; one that is older than what is known changes nothing."""
        for agent in agents:
            known = self._rows.get(agent.identity)
            if known is not None and known.revision >= agent.revision:
                continue
            try:
                self._rows[agent.identity] = _row(agent)
            except KeyUnusable as error:
                # Nobody is let in by it, and everybody else's changes still count.
                self._log.error("agent's key is none", agent=agent.identity, error=error)
                self._rows.pop(agent.identity, None)
            for watched in self._watched.get(agent.identity, ()):
                watched.changed.set()

    @contextmanager
    def watching(self, identity: PeerIdentity) -> Iterator[Watched]:
        """Hold an event that every change of the agent sets."""
        watched = Watched()
        self._watched.setdefault(identity, set()).add(watched)
        try:
            yield watched
        finally:
            self._watched[identity].discard(watched)
            if not self._watched[identity]:
                del self._watched[identity]


def _row(agent: Agent) -> Row:
    return Row(
        key=VerifyKey(agent.signing_key),
        serials=frozenset({agent.current, agent.next} - {b""}),
        next_serial=agent.next,
        state=agent.state,
        revision=agent.revision,
    )
