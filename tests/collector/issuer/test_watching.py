from pathlib import Path

import pytest

from collector.issuer import watching
from collector.issuer.administer import revoke
from collector.issuer.agents import State
from collector.issuer.messages import Changes, Revoke, Watch
from collector.issuer.watching import watch
from tests.collector.issuer.builders import UID, House, a_house, a_tenant, an_enrolled_host


def ask(house: House, after: int) -> Changes:
    return watch(house.desk, Watch(after=after, wait_s=0))


def test_who_asks_from_the_beginning_learns_everything(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    hosts = [an_enrolled_host(house) for _ in range(3)]

    changes = ask(house, 0)

    assert {agent.identity for agent in changes.agents} == {host.peer for host in hosts}
    assert [tenant.tenant for tenant in changes.tenants] == [house.tenant]
    assert changes.tenants[0].authorities_pem
    assert not changes.more


def test_who_knows_everything_learns_nothing_until_something_changes(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    known = ask(house, 0).revision

    quiet = ask(house, known)
    revoke(house.desk, Revoke(peer=host.peer, reason="stolen"), UID)
    changes = ask(house, known)

    assert (quiet.revision, quiet.agents, quiet.tenants) == (known, (), ())
    assert [(agent.identity, agent.state) for agent in changes.agents] == [
        (host.peer, State.REVOKED)
    ]


def test_more_than_fit_are_told_in_parts_that_miss_and_repeat_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = a_house(tmp_path)
    for number in range(3):
        an_enrolled_host(house)
        a_tenant(house.desk, house.root, f"tenant {number}")
    everything = ask(house, 0)
    monkeypatch.setattr(watching, "AGENTS_MAX", 1)
    monkeypatch.setattr(watching, "TENANTS_MAX", 1)

    parts = [ask(house, 0)]
    while parts[-1].more:
        parts.append(ask(house, parts[-1].revision))

    assert [agent for part in parts for agent in part.agents] == list(everything.agents)
    assert [tenant for part in parts for tenant in part.tenants] == list(everything.tenants)
    assert parts[-1].revision == everything.revision
    assert all(len(part.agents) <= 1 and len(part.tenants) <= 1 for part in parts)
