import sqlite3
import threading
from pathlib import Path

import pytest

from certs.identity import TenantId
from certs.tokens import token_hash
from collector.issuer import tenants, tokens
from collector.issuer.errors import IssuerRefused, Refusal
from collector.issuer.proof import Proof, check_proof
from collector.issuer.store import Store
from proto.model import StatementKind
from runtime.clock import NS_PER_S
from tests.collector.issuer.builders import Host
from tests.fakes.clock import FakeClock

TENANT, OTHER_TENANT = TenantId(b"t" * 16), TenantId(b"u" * 16)
SECRET = bytes(range(32))
START_NS = 10**18
TIMES_NS = range(START_NS, START_NS + 600 * NS_PER_S)


def a_proof(host: Host | None = None) -> Proof:
    host = host or Host(TENANT, FakeClock())
    said = host.signed(host.statement(StatementKind.ENROL, bytes(32)))
    return check_proof(host.csr, said.payload, said.signature, StatementKind.ENROL)


def a_store(folder: Path) -> Store:
    store = Store(folder / "issuer.db")
    with store.transaction() as db:
        tenants.add(db, TENANT, "first", START_NS)
        tenants.add(db, OTHER_TENANT, "second", START_NS)
        tokens.mint(db, TENANT, SECRET, TIMES_NS)
    return store


def redeem(store: Store, secret: bytes, proof: Proof, now_ns: int) -> Refusal | None:
    try:
        with store.transaction() as db:
            tokens.redeem(db, secret, proof, now_ns)
    except IssuerRefused as error:
        return error.reason
    return None


def test_a_token_is_good_once(tmp_path: Path) -> None:
    store = a_store(tmp_path)

    assert redeem(store, SECRET, a_proof(), START_NS) is None
    assert redeem(store, SECRET, a_proof(), START_NS) is Refusal.TOKEN
    store.close()


def test_unknown_used_expired_and_foreign_tokens_are_refused_in_the_same_words(
    tmp_path: Path,
) -> None:
    store = a_store(tmp_path)
    with store.transaction() as db:
        for secret in (b"\1" * 32, b"\2" * 32):
            tokens.mint(db, TENANT, secret, TIMES_NS)
    redeem(store, b"\2" * 32, a_proof(), START_NS)
    foreign = a_proof(Host(OTHER_TENANT, FakeClock()))

    errors = []
    for secret, proof, now_ns in (
        (b"\xff" * 32, a_proof(), START_NS),
        (b"\2" * 32, a_proof(), START_NS),
        (b"\1" * 32, a_proof(), TIMES_NS.stop),
        (SECRET, foreign, START_NS),
    ):
        with pytest.raises(IssuerRefused) as caught, store.transaction() as db:
            tokens.redeem(db, secret, proof, now_ns)
        errors.append((caught.value.reason, str(caught.value)))

    assert len(set(errors)) == 1
    assert errors[0][0] is Refusal.TOKEN
    store.close()


def test_a_foreign_attempt_does_not_use_a_token_up(tmp_path: Path) -> None:
    store = a_store(tmp_path)

    redeem(store, SECRET, a_proof(Host(OTHER_TENANT, FakeClock())), START_NS)

    assert redeem(store, SECRET, a_proof(), START_NS) is None
    store.close()


@pytest.mark.parametrize(("age_s", "good"), [(0, True), (599, True), (600, False), (9999, False)])
def test_a_token_is_good_for_its_life(tmp_path: Path, age_s: int, good: bool) -> None:
    store = a_store(tmp_path)

    reason = redeem(store, SECRET, a_proof(), START_NS + age_s * NS_PER_S)

    assert (reason is None) is good
    store.close()


def test_the_database_never_holds_a_secret(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    redeem(store, SECRET, a_proof(), START_NS)
    store.close()

    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert token_hash(SECRET) in held
    assert SECRET not in held


def test_of_many_connections_at_once_one_finds_the_token_unused(tmp_path: Path) -> None:
    a_store(tmp_path).close()
    proofs = [a_proof() for _ in range(8)]
    start, outcomes = threading.Barrier(len(proofs)), []

    def attempt(proof: Proof) -> None:
        db = sqlite3.connect(tmp_path / "issuer.db", timeout=10, isolation_level=None)
        start.wait()
        try:
            tokens.redeem(db, SECRET, proof, START_NS)
        except IssuerRefused:
            outcomes.append(False)
        else:
            outcomes.append(True)
        finally:
            db.close()

    threads = [threading.Thread(target=attempt, args=(proof,)) for proof in proofs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(outcomes) == [False] * 7 + [True]


def test_the_same_agent_and_request_find_what_the_token_gave(tmp_path: Path) -> None:
    store, host = a_store(tmp_path), Host(TENANT, FakeClock())
    proof = a_proof(host)
    redeem(store, SECRET, proof, START_NS)
    with store.transaction() as db:
        tokens.record_serial(db, SECRET, b"s" * 20)

    with store.reading() as db:
        found = tokens.redeemed(db, SECRET, proof, START_NS)
        assert found == tokens.Redeemed(b"s" * 20, proof.digest)
        assert tokens.redeemed(db, SECRET, a_proof(), START_NS) is None
        assert tokens.redeemed(db, b"\xff" * 32, proof, START_NS) is None
        assert tokens.redeemed(db, SECRET, proof, TIMES_NS.stop) is None
        host.new_tls_key()
        assert tokens.redeemed(db, SECRET, a_proof(host), START_NS) is None
    store.close()


def test_tokens_that_wait_are_counted_by_tenant(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    with store.transaction() as db:
        tokens.mint(db, TENANT, b"\1" * 32, TIMES_NS)
        tokens.mint(db, OTHER_TENANT, b"\2" * 32, TIMES_NS)
    redeem(store, SECRET, a_proof(), START_NS)

    with store.reading() as db:
        assert tokens.count_open(db, TENANT, START_NS) == 1
        assert tokens.count_open(db, TENANT, TIMES_NS.stop) == 0
    store.close()


def test_a_token_is_forgotten_a_day_after_its_end(tmp_path: Path) -> None:
    store = a_store(tmp_path)

    for now_ns, left in (
        (TIMES_NS.stop + tokens.KEPT_AFTER_END_NS, 1),
        (TIMES_NS.stop + tokens.KEPT_AFTER_END_NS + 1, 0),
    ):
        with store.transaction() as db:
            tokens.forget_old(db, now_ns)
            assert db.execute("SELECT count(*) FROM tokens").fetchone() == (left,)
    store.close()
