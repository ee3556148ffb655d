import sqlite3

import pytest

from collector.ledger import schema
from collector.ledger.chain import Verdict
from collector.ledger.flags import FlagKind, read_flags
from collector.ledger.history import History
from collector.ledger.taking import VERDICT_NUMBERS, VERDICTS, Taken, Taking
from proto.model import EpochReason, EpochStart
from tests.collector.sealing import AnAgent


@pytest.fixture
def db() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(schema.LEDGER)
    return db


class Desk:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._history = History(db)
        self.statements: list[str] = []

    def take(self, *batches: object) -> list[Taken]:
        taking = Taking(self._db, self._history, set())
        self._db.set_trace_callback(self.statements.append)
        taken = [taking.take(batch) for batch in batches]  # type: ignore[arg-type]
        self._db.set_trace_callback(None)
        taking.finish(now=1)
        return taken


def test_the_next_batches_of_a_whole_chain_cost_no_query(db: sqlite3.Connection) -> None:
    desk, agent = Desk(db), AnAgent()
    desk.take(agent.seal())
    desk.statements.clear()

    taken = desk.take(*[agent.seal() for _ in range(50)])

    assert [one.verdict for one in taken] == [Verdict.ACCEPT] * 50
    assert desk.statements == []
    assert db.execute("SELECT count(*), max(seq) FROM batches").fetchone() == (51, 51)


def test_a_batch_is_judged_by_those_gathered_before_it(db: sqlite3.Connection) -> None:
    desk, agent = Desk(db), AnAgent()
    first, second = agent.seal(), agent.seal()

    taken = desk.take(first, second, first, second)

    assert [one.verdict for one in taken[2:]] == [Verdict.DUPLICATE] * 2


def test_evidence_of_a_fork_is_held_whole_and_once(db: sqlite3.Connection) -> None:
    desk, agent = Desk(db), AnAgent()
    twin = agent.twin()
    forged = twin.seal([b"forged"])
    desk.take(agent.seal())

    desk.take(forged)
    desk.take(forged)

    rows = db.execute("SELECT seq, header_hash, signature, header, body FROM held").fetchall()
    assert rows == [(1, forged.header_hash, forged.signature, forged.header_bytes, forged.body)]
    assert [flag.kind for flag in read_flags(db, 0, 9)] == [FlagKind.FORK]


def test_a_flag_holds_from_the_batch_that_shows_it(db: sqlite3.Connection) -> None:
    desk, agent = Desk(db), AnAgent()
    desk.take(agent.seal(), agent.seal())
    agent.start(EpochStart(reason=EpochReason.STATE_LOSS))

    desk.take(agent.seal(), agent.seal())

    (flag,) = read_flags(db, 0, 9)
    assert (flag.kind, flag.position, flag.seq, flag.quarantines) == (
        FlagKind.STATE_LOSS,
        3,
        1,
        True,
    )


def test_the_key_of_each_agent_is_kept_with_its_batches(db: sqlite3.Connection) -> None:
    desk, agents = Desk(db), [AnAgent(0), AnAgent(1)]

    desk.take(*[agent.seal() for agent in agents])

    rows = dict(db.execute("SELECT agent, public_key FROM agents").fetchall())
    assert rows == {agent.id.bytes: agent.key.public.raw for agent in agents}


def test_every_verdict_that_is_stored_has_a_number_of_its_own() -> None:
    assert {VERDICTS[number] for number in VERDICT_NUMBERS.values()} == set(VERDICT_NUMBERS)
    assert set(Verdict) - set(VERDICT_NUMBERS) == {Verdict.DUPLICATE, Verdict.FORK}
