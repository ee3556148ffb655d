import pytest

from bench.ingest_server import LIMITS, KnownAgents
from bench.ingest_world import Given
from bench.report import BenchFailed
from collector.issuer.messages import Changes, Standing, Watch

GIVEN = Given(root_pem=b"", authority_pem=b"pem", chain_pem=b"", key_pem=b"", agents=())


async def test_the_known_agents_are_told_once_and_never_change() -> None:
    issuer = KnownAgents(GIVEN)

    first = await issuer.call(Watch(after=0, wait_s=0), Changes)
    later = await issuer.call(Watch(after=1, wait_s=0), Changes)

    assert [tenant.authorities_pem for tenant in first.tenants] == [(b"pem",)]
    assert later.tenants == ()
    with pytest.raises(BenchFailed):
        await issuer.call(Watch(after=1, wait_s=0), Standing)


def test_no_share_of_one_agent_is_in_the_way() -> None:
    assert LIMITS.agent_batches_per_s_max > 1_000_000
