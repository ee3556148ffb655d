import pytest
from msgspec import structs

from certs.identity import PeerIdentity
from collector.gateway.registry import Registry
from collector.issuer.agents import Agent, State
from tests.collector.sealing import TENANT, AnAgent
from tests.fakes.clock import FakeClock

AGENT = AnAgent()
IDENTITY = PeerIdentity(TENANT, AGENT.id)
ROW = Agent(
    identity=IDENTITY,
    signing_key=AGENT.key.public.raw,
    host_name="host",
    enrolled_ns=1,
    changed_ns=1,
    current=b"c" * 20,
    next=b"n" * 20,
    revision=5,
)


@pytest.fixture
def registry() -> Registry:
    return Registry(FakeClock(), 60)


def test_an_agent_may_come_by_its_current_and_its_next_certificate(registry: Registry) -> None:
    registry.apply([ROW])

    row = registry.find(IDENTITY)

    assert row is not None
    assert row.serials == {b"c" * 20, b"n" * 20}
    assert row.next_serial == b"n" * 20
    assert row.key == AGENT.key.public
    assert registry.find(PeerIdentity(TENANT, AnAgent(1).id)) is None


def test_an_agent_without_a_certificate_comes_by_none(registry: Registry) -> None:
    registry.apply([structs.replace(ROW, current=b"", next=b"")])

    row = registry.find(IDENTITY)

    assert row is not None
    assert row.serials == frozenset()


def test_an_older_change_never_undoes_a_newer_one(registry: Registry) -> None:
    registry.apply([structs.replace(ROW, state=State.REVOKED, revision=7)])
    registry.apply([structs.replace(ROW, revision=6)])

    row = registry.find(IDENTITY)

    assert row is not None
    assert (row.state, row.revision, len(registry)) == (State.REVOKED, 7, 1)


def test_a_change_reaches_whoever_watches_and_nobody_else(registry: Registry) -> None:
    registry.apply([ROW])
    other = PeerIdentity(TENANT, AnAgent(1).id)

    with registry.watching(IDENTITY) as mine, registry.watching(other) as theirs:
        registry.apply([structs.replace(ROW, revision=6)])
        assert (mine.changed.is_set(), theirs.changed.is_set()) == (True, False)
    registry.apply([structs.replace(ROW, revision=7)])


def test_a_copy_is_stale_before_it_was_ever_level_and_when_it_has_not_been_for_long() -> None:
    clock = FakeClock()
    registry = Registry(clock, 60)
    never = registry.is_stale

    registry.level()
    clock.forward(59)
    level = registry.is_stale
    clock.forward(2)

    assert (never, level, registry.is_stale) == (True, False, True)
    assert registry.age_s == pytest.approx(61)


def test_a_key_that_is_none_lets_nobody_in_and_holds_up_nobody_else(registry: Registry) -> None:
    other = AnAgent(1)
    good = structs.replace(
        ROW, identity=PeerIdentity(TENANT, other.id), signing_key=other.key.public.raw
    )

    registry.apply([structs.replace(ROW, signing_key=bytes(32)), good])

    assert registry.find(IDENTITY) is None
    assert registry.find(good.identity) is not None
