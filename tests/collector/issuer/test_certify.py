import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from certs.identity import PeerIdentity, TenantId
from certs.leaf import PeerReader
from collector.issuer import agents
from collector.issuer.administer import readmit, revoke
from collector.issuer.agents import Agent, State
from collector.issuer.certify import activate, begin, challenge, enroll, reattest, renew
from collector.issuer.errors import IssuerRefused, IssuerUnready, Refusal
from collector.issuer.messages import (
    Activate,
    Begin,
    Challenge,
    Enroll,
    Issued,
    Readmit,
    Reattest,
    Renew,
    Revoke,
)
from proto.model import StatementKind
from runtime.clock import NS_PER_S
from tests.collector.issuer.builders import (
    DOMAIN,
    UID,
    Host,
    House,
    a_house,
    a_secret,
    a_tenant,
    an_enrolled_host,
    reopened,
)

DAY_S = 86_400


def agent_of(house: House, host: Host) -> Agent:
    with house.desk.store.reading() as db:
        agent = agents.find(db, host.peer)
    assert agent is not None
    return agent


def reason(house: House, request: Enroll | Reattest | Renew) -> Refusal | None:
    try:
        if isinstance(request, Enroll):
            enroll(house.desk, request)
        elif isinstance(request, Reattest):
            reattest(house.desk, request)
        else:
            renew(house.desk, request)
    except IssuerRefused as error:
        return error.reason
    return None


def count(house: House, table: str) -> int:
    with house.desk.store.reading() as db:
        (found,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - constant
    return int(found)


# ------------------------------------------------------------------------------------- enrolment


def test_a_token_becomes_a_certificate_that_the_gateway_accepts(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = Host(house.tenant, house.clock)

    issued = host.enroll(house.desk, a_secret(house.desk, house.tenant))

    reader = PeerReader(DOMAIN, house.root.certificate_pem)
    authority = house.desk.vault.tenant(house.tenant).certificate_pem
    reader.trust(house.tenant, authority)
    peer = reader.read(issued.chain_pem.removesuffix(authority))
    assert peer.identity == host.peer
    assert agents.serial_bytes(peer.serial) == issued.serial
    assert peer.spki_sha256 == host.tls.public.fingerprint
    assert peer.not_after_ns == issued.not_after_ns == house.clock.wall + DAY_S * NS_PER_S
    assert issued.agent == agent_of(house, host)
    assert issued.agent.signing_key == host.signing.public.raw
    assert (issued.agent.current, issued.agent.next, issued.generation) == (issued.serial, b"", 1)


def test_beginning_gives_the_trust_file_that_the_token_names(tmp_path: Path) -> None:
    house = a_house(tmp_path)

    begun = begin(house.desk, Begin(tenant=house.tenant))

    assert begun.trust == house.desk.vault.trust(house.tenant).encode()
    assert challenge(house.desk, Challenge()).trust == b""


def test_nobody_begins_for_a_tenant_that_does_not_exist(tmp_path: Path) -> None:
    house = a_house(tmp_path)

    with pytest.raises(IssuerRefused) as caught:
        begin(house.desk, Begin(tenant=TenantId(bytes(16))))

    assert caught.value.reason is Refusal.TENANT


def test_a_token_admits_one_host(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    secret = a_secret(house.desk, house.tenant)
    Host(house.tenant, house.clock).enroll(house.desk, secret)

    again = Host(house.tenant, house.clock).enroll_request(house.desk, secret)

    assert reason(house, again) is Refusal.TOKEN
    assert count(house, "agents") == count(house, "certificates") == 1


def test_unknown_used_expired_and_foreign_tokens_are_refused_in_the_same_words(
    tmp_path: Path,
) -> None:
    house = a_house(tmp_path)
    other = a_tenant(house.desk, house.root, "second")
    used, expired = (a_secret(house.desk, house.tenant, life) for life in (600, 1))
    foreign = a_secret(house.desk, other)
    Host(house.tenant, house.clock).enroll(house.desk, used)
    house.clock.forward(2)

    errors = []
    for secret in (bytes(32), used, expired, foreign):
        with pytest.raises(IssuerRefused) as caught:
            Host(house.tenant, house.clock).enroll(house.desk, secret)
        errors.append((caught.value.reason, str(caught.value)))

    assert len(set(errors)) == 1
    assert count(house, "agents") == 1


def test_the_very_same_enrolment_again_gives_the_very_same_certificate(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = Host(house.tenant, house.clock)
    request = host.enroll_request(house.desk, a_secret(house.desk, house.tenant))
    first = enroll(house.desk, request)

    house.clock.forward(120)
    again = enroll(reopened(house).desk, request)

    assert again == first


def test_the_same_request_in_fresh_words_gives_the_same_certificate(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = Host(house.tenant, house.clock)
    secret = a_secret(house.desk, house.tenant)
    first = enroll(house.desk, host.enroll_request(house.desk, secret))

    again = enroll(house.desk, host.enroll_request(house.desk, secret))

    assert again.chain_pem == first.chain_pem
    assert count(house, "certificates") == 1


def test_the_same_token_with_another_tls_or_signing_key_is_refused(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host, secret = Host(house.tenant, house.clock), a_secret(house.desk, house.tenant)
    host.enroll(house.desk, secret)
    csr = host.csr
    host.new_tls_key()
    other = Host(house.tenant, house.clock)
    other.csr = csr

    assert reason(house, host.enroll_request(house.desk, secret)) is Refusal.TOKEN
    assert reason(house, other.enroll_request(house.desk, secret)) is Refusal.TOKEN


def test_after_the_tokens_life_the_same_enrolment_is_refused(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = Host(house.tenant, house.clock)
    request = host.enroll_request(house.desk, a_secret(house.desk, house.tenant, 60))
    enroll(house.desk, request)

    house.clock.forward(60)

    assert reason(house, request) in {Refusal.TOKEN, Refusal.NONCE}


def test_a_statement_in_old_words_is_refused_and_the_token_stays_good(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host, secret = Host(house.tenant, house.clock), a_secret(house.desk, house.tenant)
    request = host.enroll_request(house.desk, secret)

    house.clock.forward(61)

    assert reason(house, request) is Refusal.NONCE
    assert reason(house, host.enroll_request(house.desk, secret)) is None


def test_one_nonce_does_not_serve_two_hosts(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    nonce = begin(house.desk, Begin(tenant=house.tenant)).nonce
    requests = []
    for _ in range(2):
        host = Host(house.tenant, house.clock)
        request = host.enroll_request(house.desk, a_secret(house.desk, house.tenant))
        said = host.signed(host.statement(StatementKind.ENROL, nonce))
        requests.append(msgspec.structs.replace(request, statement=said))

    assert reason(house, requests[0]) is None
    assert reason(house, requests[1]) is Refusal.NONCE


def test_a_proof_that_does_not_hold_leaves_the_token_good(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host, secret = Host(house.tenant, house.clock), a_secret(house.desk, house.tenant)
    stolen = Host(house.tenant, house.clock).enroll_request(house.desk, secret)

    mixed = msgspec.structs.replace(stolen, csr=host.csr)

    assert reason(house, mixed) is Refusal.STATEMENT
    assert reason(house, host.enroll_request(house.desk, secret)) is None


def test_an_authority_that_cannot_issue_leaves_the_token_good(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = Host(house.tenant, house.clock)
    house.clock.forward(90 * DAY_S)
    secret = a_secret(house.desk, house.tenant)

    with pytest.raises(IssuerUnready):
        host.enroll(house.desk, secret)

    with house.desk.store.reading() as db:
        assert db.execute("SELECT used_ns FROM tokens").fetchall() == [(None,)]
    assert count(house, "agents") == 0


def test_a_host_that_starts_again_with_its_old_key_keeps_its_id(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    host.new_tls_key()

    again = host.enroll(house.desk, a_secret(house.desk, house.tenant))

    assert again.agent.identity == host.peer
    assert again.generation == 2
    assert count(house, "agents") == 1


def test_a_key_that_was_cut_off_never_enrols_again_and_the_token_stays_good(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    revoke(house.desk, Revoke(peer=host.peer, reason="stolen"), UID)
    secret = a_secret(house.desk, house.tenant)

    assert reason(house, host.enroll_request(house.desk, secret)) is Refusal.REVOKED
    host.new_tls_key()
    assert reason(house, host.enroll_request(house.desk, secret)) is Refusal.REVOKED

    assert reason(house, Host(house.tenant, house.clock).enroll_request(house.desk, secret)) is None


def test_one_signing_key_in_two_tenants_is_two_agents(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    other = a_tenant(house.desk, house.root, "second")
    host = an_enrolled_host(house)
    moved = Host(other, house.clock)
    moved.signing = host.signing
    moved.peer = PeerIdentity(other, host.peer.agent)
    moved.enroll(house.desk, a_secret(house.desk, other))

    revoke(house.desk, Revoke(peer=moved.peer, reason="moved"), UID)

    assert agent_of(house, host).state is State.ACTIVE
    assert agent_of(house, moved).state is State.REVOKED


# --------------------------------------------------------------------------------------- renewal


def test_the_next_certificate_becomes_current_when_it_is_first_used(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    first = host.serial

    issued = host.renew(house.desk)

    assert (issued.agent.current, issued.agent.next) == (first, issued.serial)
    assert issued.generation == 2
    used = activate(house.desk, Activate(peer=host.peer, serial=issued.serial))
    assert (used.agent.current, used.agent.next) == (issued.serial, b"")
    assert used.agent.revision > issued.agent.revision
    again = activate(house.desk, Activate(peer=host.peer, serial=issued.serial))
    assert again == used


def test_a_superseded_certificate_is_not_let_in_again(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    old = host.serial
    host.took(host.renew(house.desk))
    activate(house.desk, Activate(peer=host.peer, serial=host.serial))

    with pytest.raises(IssuerRefused) as caught:
        activate(house.desk, Activate(peer=host.peer, serial=old))

    assert caught.value.reason is Refusal.SERIAL
    assert agent_of(house, host).state is State.ACTIVE


def test_a_lost_reply_costs_nothing(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    host.new_tls_key()
    request = host.renew_request(house.desk)
    first = renew(house.desk, request)

    house.clock.forward(300)
    assert renew(house.desk, request) == first
    assert renew(house.desk, host.renew_request(house.desk)).chain_pem == first.chain_pem
    assert count(house, "certificates") == 2


def test_an_agent_that_lost_its_new_key_gets_another_certificate(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    lost = host.renew(house.desk)

    second = host.renew(house.desk)

    assert second.serial != lost.serial
    assert agent_of(house, host).next == second.serial
    with pytest.raises(IssuerRefused):
        activate(house.desk, Activate(peer=host.peer, serial=lost.serial))


def test_renewing_by_the_next_certificate_makes_it_current_first(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    host.took(host.renew(house.desk))

    third = host.renew(house.desk)

    assert third.generation == 3
    assert (third.agent.current, third.agent.next) == (host.serial, third.serial)


def test_an_agent_renews_for_weeks(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)

    for _ in range(60):
        house.clock.forward(DAY_S / 2)
        host.took(host.renew(house.desk))
        house.desk.tidy()

    assert agent_of(house, host).generation == 61
    assert count(house, "certificates") <= 4


def test_a_copy_that_renews_after_the_agent_did_locks_both(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    stolen = host.serial
    host.took(host.renew(house.desk))
    activate(house.desk, Activate(peer=host.peer, serial=host.serial))
    thief = Host(house.tenant, house.clock)
    thief.signing, thief.peer, thief.serial = host.signing, host.peer, stolen
    thief.generation = host.generation

    assert reason(house, thief.renew_request(house.desk)) is Refusal.CLONE

    assert agent_of(house, host).state is State.LOCKED
    assert reason(house, host.renew_request(house.desk)) is Refusal.LOCKED
    assert reason(house, thief.reattest_request(house.desk)) is Refusal.LOCKED
    with pytest.raises(IssuerRefused):
        activate(house.desk, Activate(peer=host.peer, serial=host.serial))


def test_an_agent_that_a_copy_overtook_is_told_apart_when_it_comes(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    thief = Host(house.tenant, house.clock)
    thief.signing, thief.peer, thief.serial = host.signing, host.peer, host.serial
    thief.generation = host.generation
    thief.took(thief.renew(house.desk))
    activate(house.desk, Activate(peer=thief.peer, serial=thief.serial))

    assert reason(house, host.renew_request(house.desk)) is Refusal.CLONE
    assert agent_of(house, host).state is State.LOCKED


def test_a_signing_process_that_was_set_back_locks_its_agent(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    for _ in range(2):
        host.took(host.renew(house.desk))

    host.generation = 0

    assert reason(house, host.renew_request(house.desk)) is Refusal.CLONE
    assert agent_of(house, host).state is State.LOCKED


def test_a_lock_survives_the_refusal_and_a_restart(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    for _ in range(2):
        host.took(host.renew(house.desk))
    host.generation = 0
    reason(house, host.renew_request(house.desk))

    assert agent_of(reopened(house), host).state is State.LOCKED


def test_a_certificate_that_was_never_the_agents_is_refused_without_harm(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host, other = an_enrolled_host(house), an_enrolled_host(house)
    host.serial = other.serial

    assert reason(house, host.renew_request(house.desk)) is Refusal.SERIAL
    assert agent_of(house, host).state is State.ACTIVE


def test_an_agent_cannot_renew_for_another(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host, other = an_enrolled_host(house), an_enrolled_host(house)

    mixed = msgspec.structs.replace(host.renew_request(house.desk), peer=other.peer)

    assert reason(house, mixed) is Refusal.AGENT


def test_an_agent_nobody_enrolled_gets_nothing(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    stranger = Host(house.tenant, house.clock)
    stranger.serial = bytes(20)

    assert reason(house, stranger.renew_request(house.desk)) is Refusal.AGENT
    assert reason(house, stranger.reattest_request(house.desk)) is Refusal.AGENT


def test_an_agent_that_was_cut_off_gets_nothing(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    revoke(house.desk, Revoke(peer=host.peer, reason="stolen"), UID)

    assert reason(house, host.renew_request(house.desk)) is Refusal.REVOKED
    assert reason(house, host.reattest_request(house.desk)) is Refusal.REVOKED


@pytest.mark.parametrize("kind", [StatementKind.ENROL, StatementKind.REATTEST])
def test_a_statement_made_for_another_purpose_does_not_renew(
    tmp_path: Path, kind: StatementKind
) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    nonce = challenge(house.desk, Challenge()).nonce
    said = host.signed(host.statement(kind, nonce))

    request = msgspec.structs.replace(host.renew_request(house.desk), statement=said)

    assert reason(house, request) is Refusal.STATEMENT


# ---------------------------------------------------------------------------------- coming back


def test_a_host_that_slept_past_its_certificate_comes_back_by_its_signing_key(
    tmp_path: Path,
) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    house.clock.forward(7 * DAY_S)
    house.desk.tidy()

    issued = host.reattest(house.desk)

    assert issued.agent.current == issued.serial
    assert issued.agent.recoveries == 1
    assert host.renew(house.desk).agent.recoveries == 0


def test_a_host_comes_back_a_bounded_number_of_times_until_an_operator_says_so(
    tmp_path: Path,
) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    for _ in range(3):
        house.clock.forward(2 * DAY_S)
        host.reattest(house.desk)
    host.new_tls_key()

    assert reason(house, host.reattest_request(house.desk)) is Refusal.RECOVERIES

    readmit(house.desk, Readmit(peer=host.peer), UID)
    assert host.reattest(house.desk).agent.recoveries == 1


def test_coming_back_voids_the_certificates_before(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    old = host.serial
    pending = host.renew(house.desk).serial

    host.reattest(house.desk)

    for serial in (old, pending):
        with pytest.raises(IssuerRefused):
            activate(house.desk, Activate(peer=host.peer, serial=serial))


def test_a_lost_reply_to_coming_back_is_no_second_time(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    house.clock.forward(2 * DAY_S)
    host.new_tls_key()
    request = host.reattest_request(house.desk)
    first = reattest(house.desk, request)

    house.clock.forward(300)
    assert reattest(house.desk, request).chain_pem == first.chain_pem
    fresh = reattest(house.desk, host.reattest_request(house.desk))

    assert fresh.chain_pem == first.chain_pem
    assert fresh.agent.recoveries == 1


def test_a_signing_process_that_was_set_back_does_not_come_back(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    host.took(host.renew(house.desk))
    host.renew(house.desk)
    house.clock.forward(2 * DAY_S)

    host.generation = 0

    assert reason(house, host.reattest_request(house.desk)) is Refusal.CLONE
    assert agent_of(house, host).state is State.LOCKED


def test_after_a_lock_the_first_enrolment_is_not_answered_again(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = Host(house.tenant, house.clock)
    request = host.enroll_request(house.desk, a_secret(house.desk, house.tenant))
    host.took(enroll(house.desk, request))
    for _ in range(2):
        host.took(host.renew(house.desk))
    host.generation = 0
    reason(house, host.renew_request(house.desk))
    assert reason(house, request) is Refusal.LOCKED

    readmit(house.desk, Readmit(peer=host.peer), UID)

    assert reason(house, request) is Refusal.TOKEN


def test_a_locked_agent_comes_back_when_an_operator_says_so(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    for _ in range(2):
        host.took(host.renew(house.desk))
    host.generation = 0
    reason(house, host.renew_request(house.desk))

    let_in = readmit(house.desk, Readmit(peer=host.peer), UID)

    assert (let_in.agent.state, let_in.agent.current) == (State.ACTIVE, b"")
    assert reason(house, host.renew_request(house.desk)) is Refusal.SERIAL
    assert host.reattest(house.desk).agent.state is State.ACTIVE


def test_every_certificate_ever_issued_has_a_number_of_its_own(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    chains = [host.renew(house.desk).chain_pem for _ in range(10)]

    serials = {x509.load_pem_x509_certificates(chain)[0].serial_number for chain in chains}

    assert len(serials) == 10
    assert isinstance(host.renew(house.desk), Issued)


ENROL_UNTIL_KILLED = """
import sys
from collector.issuer.desk import Desk
from certs.identity import TenantId
from tests.collector.issuer.builders import Host, a_secret, some_settings
from tests.fakes.clock import FakeClock
from pathlib import Path

clock = FakeClock()
desk = Desk(some_settings(Path(sys.argv[1])), clock)
tenant = TenantId.parse(sys.argv[2])
while True:
    host = Host(tenant, clock)
    issued = host.enroll(desk, a_secret(desk, tenant))
    print(issued.serial.hex(), flush=True)
"""


def test_what_was_answered_is_there_after_the_process_was_killed(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    house.desk.close()
    command = [sys.executable, "-c", ENROL_UNTIL_KILLED, str(tmp_path), str(house.tenant)]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        answered = [bytes.fromhex(child.stdout.readline().strip()) for _ in range(10)]
        child.kill()
        answered += [bytes.fromhex(line) for line in child.stdout if len(line) == 41]

    house = reopened(house)
    with house.desk.store.reading() as db:
        kept = {serial for (serial,) in db.execute("SELECT serial FROM certificates")}
        used = db.execute("SELECT count(*) FROM tokens WHERE used_ns IS NOT NULL").fetchone()
    house.desk.close()

    assert set(answered) <= kept
    assert used == (len(kept),)
