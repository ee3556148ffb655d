from pathlib import Path

import msgspec
import pytest

from certs.identity import AgentId, PeerIdentity, TenantId
from collector.issuer import agents, tenants
from collector.issuer.agents import Agent, Certificate, State
from collector.issuer.errors import IssuerUnready
from collector.issuer.store import Store

TENANT, OTHER_TENANT = TenantId(b"t" * 16), TenantId(b"u" * 16)


def an_agent(number: int = 1, tenant: TenantId = TENANT) -> Agent:
    return Agent(
        identity=PeerIdentity(tenant, AgentId(bytes([number]) * 16)),
        signing_key=bytes([number]) * 32,
        host_name="web-1",
        enrolled_ns=5,
        changed_ns=5,
    )


def a_certificate(agent: Agent, serial: bytes = b"s" * 20, not_after_ns: int = 100) -> Certificate:
    return Certificate(
        serial=serial,
        identity=agent.identity,
        generation=1,
        request=b"r" * 32,
        proof=b"p" * 32,
        not_after_ns=not_after_ns,
        chain_pem=b"chain",
    )


def a_store(folder: Path) -> Store:
    store = Store(folder / "issuer.db")
    with store.transaction() as db:
        tenants.add(db, TENANT, "first", 1)
        tenants.add(db, OTHER_TENANT, "second", 1)
    return store


def test_an_agent_comes_back_as_it_was_written(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    agent = msgspec.structs.replace(
        an_agent(),
        state=State.LOCKED,
        reason="why",
        current=b"c" * 20,
        next=b"n" * 20,
        generation=3,
        generation_stated=2,
        recoveries=1,
    )

    with store.transaction() as db:
        saved = agents.save(db, agent, 7)
        found = agents.find(db, agent.identity)

    assert found == saved
    assert found == msgspec.structs.replace(agent, changed_ns=7, revision=saved.revision)
    store.close()


def test_the_key_and_the_beginning_of_an_agent_never_change(tmp_path: Path) -> None:
    store = a_store(tmp_path)

    with store.transaction() as db:
        agents.save(db, an_agent(), 5)
        other = msgspec.structs.replace(an_agent(), signing_key=b"x" * 32, enrolled_ns=9)
        agents.save(db, other, 9)
        found = agents.find(db, an_agent().identity)

    assert found is not None
    assert (found.signing_key, found.enrolled_ns) == (an_agent().signing_key, 5)
    store.close()


def test_an_agent_of_another_tenant_is_not_found(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    with store.transaction() as db:
        agents.save(db, an_agent(), 5)
        agents.add_certificate(db, a_certificate(an_agent()))

        foreign = PeerIdentity(OTHER_TENANT, an_agent().identity.agent)

        assert agents.find(db, foreign) is None
        assert agents.certificate(db, foreign, b"s" * 20) is None
        assert agents.page(db, OTHER_TENANT, None, 10) == ()
    store.close()


def test_an_agent_of_no_tenant_cannot_be_written(tmp_path: Path) -> None:
    store = a_store(tmp_path)

    with pytest.raises(IssuerUnready), store.transaction() as db:
        agents.save(db, an_agent(tenant=TenantId(b"x" * 16)), 5)

    store.close()


def test_each_change_is_seen_once_and_in_order_by_who_asks_for_what_is_new(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    with store.transaction() as db:
        first, second = agents.save(db, an_agent(1), 1), agents.save(db, an_agent(2), 2)
        again = agents.save(db, first, 3)

        assert agents.changed(db, 0, 10) == (second, again)
        assert agents.changed(db, 0, 1) == (second,)
        assert agents.changed(db, second.revision, 10) == (again,)
        assert agents.changed(db, again.revision, 10) == ()
    store.close()


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_give_every_agent_of_the_tenant_once(tmp_path: Path, limit: int) -> None:
    store = a_store(tmp_path)
    with store.transaction() as db:
        for number in (5, 1, 9, 3, 255):
            agents.save(db, an_agent(number), 1)
        agents.save(db, an_agent(4, OTHER_TENANT), 1)

        seen: list[int] = []
        after = None
        while page := agents.page(db, TENANT, after, limit):
            seen += [agent.identity.agent.bytes[0] for agent in page]
            after = page[-1].identity.agent

    assert seen == [1, 3, 5, 9, 255]
    store.close()


def test_a_certificate_is_remembered_until_it_expires(tmp_path: Path) -> None:
    store, agent = a_store(tmp_path), an_agent()
    with store.transaction() as db:
        agents.save(db, agent, 5)
        agents.add_certificate(db, a_certificate(agent))
        agents.add_certificate(db, a_certificate(agent, b"t" * 20, not_after_ns=101))

        agents.forget_expired(db, 101)

        assert agents.certificate(db, agent.identity, b"s" * 20) is None
        assert agents.certificate(db, agent.identity, b"t" * 20) == a_certificate(
            agent, b"t" * 20, not_after_ns=101
        )
    store.close()


def test_the_certificates_of_one_agent_are_dropped_alone(tmp_path: Path) -> None:
    store, agent, other = a_store(tmp_path), an_agent(1), an_agent(2)
    with store.transaction() as db:
        for each, serial in ((agent, b"s" * 20), (other, b"t" * 20)):
            agents.save(db, each, 5)
            agents.add_certificate(db, a_certificate(each, serial))

        agents.forget_certificates(db, agent.identity)

        assert agents.certificate(db, agent.identity, b"s" * 20) is None
        assert agents.certificate(db, other.identity, b"t" * 20) is not None
    store.close()


def test_a_serial_number_is_issued_once(tmp_path: Path) -> None:
    store, agent = a_store(tmp_path), an_agent()

    with store.transaction() as db:
        agents.save(db, agent, 5)
        agents.add_certificate(db, a_certificate(agent))

    with pytest.raises(IssuerUnready), store.transaction() as db:
        agents.add_certificate(db, a_certificate(agent))

    store.close()


def test_a_revocation_is_written_down(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    with store.transaction() as db:
        agent = agents.save(db, msgspec.structs.replace(an_agent(), reason="stolen"), 5)

        agents.add_revocation(db, agent, 1000, 6)

        rows = db.execute("SELECT agent, at_ns, by_uid, reason FROM revocations").fetchall()
    assert rows == [(agent.identity.agent.bytes, 6, 1000, "stolen")]
    store.close()


def test_a_serial_number_has_twenty_bytes() -> None:
    assert agents.serial_bytes(1) == bytes(19) + b"\1"
    assert agents.serial_bytes(2**159 - 1) == b"\x7f" + b"\xff" * 19
