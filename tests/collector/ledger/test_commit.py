import threading
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random

import pytest

from certs.identity import TenantId
from collector.errors import LedgerBusy, LedgerUnavailable
from collector.ledger.chain import Verdict
from collector.ledger.commit import Answer, CommitSettings, Entry, GroupCommit
from collector.ledger.ports import Outcome, SealedBatch
from tests.collector.sealing import OTHER_TENANT, TENANT, AnAgent
from tests.fakes.ledger import MemoryLedger


class Gate(MemoryLedger):
    """A ledger whose disk waits for a nod before each commit, if told to."""

    def __init__(self) -> None:
        super().__init__(Random(0).randbytes)
        self.nod = threading.Semaphore(1000)
        self.hangs: set[TenantId] = set()
        self.is_broken = False
        self.groups: list[int] = []

    def hold(self, *tenants: TenantId) -> None:
        self.hangs = set(tenants)
        while self.nod.acquire(blocking=False):
            pass

    def append(self, tenant: TenantId, batches: Sequence[SealedBatch]) -> Sequence[Outcome]:
        if self.is_broken:
            raise RuntimeError("a bug")
        if tenant in self.hangs:
            assert self.nod.acquire(timeout=10)
        outcomes = super().append(tenant, batches)
        self.groups.append(len(batches))
        return outcomes


class Desk:
    """Collects answers."""

    def __init__(self) -> None:
        self.answers: list[Answer[int]] = []
        self.failures: list[BaseException] = []
        self._come = threading.Condition()

    def take(self, answer: Answer[int]) -> None:
        with self._come:
            self.answers.append(answer)
            self._come.notify_all()

    def wait_for(self, count: int) -> list[Answer[int]]:
        with self._come:
            assert self._come.wait_for(
                lambda: sum(len(one.entries) for one in self.answers) >= count, timeout=10
            )
        return self.answers

    def tickets(self) -> list[int]:
        return [entry.ticket for answer in self.answers for entry in answer.entries]


Start = Callable[..., GroupCommit[int]]


@pytest.fixture
def running() -> Iterator[Start]:
    made: list[GroupCommit[int]] = []

    def start(ledger: Gate, desk: Desk, settings: CommitSettings | None = None) -> GroupCommit[int]:
        commit = GroupCommit(ledger, desk.take, settings or CommitSettings(), desk.failures.append)
        commit.start()
        made.append(commit)
        return commit

    yield start
    for one in made:
        one.stop()


def test_what_waits_while_a_sync_runs_is_committed_together_in_order(running: Start) -> None:
    ledger, desk, agent = Gate(), Desk(), AnAgent()
    ledger.hold(TENANT)
    commit = running(ledger, desk)

    for ticket in range(20):
        commit.submit(TENANT, Entry(ticket, agent.seal()))
    ledger.nod.release(100)
    desk.wait_for(20)

    assert desk.tickets() == list(range(20))
    assert len(ledger.groups) <= 3
    assert {one.verdict for answer in desk.answers for one in answer.outcomes} == {Verdict.ACCEPT}


def test_a_group_is_bounded_in_batches_and_bytes(running: Start) -> None:
    ledger, desk, agent = Gate(), Desk(), AnAgent()
    ledger.hold(TENANT)
    commit = running(ledger, desk, CommitSettings(writers=1, group_batches_max=4))

    for ticket in range(9):
        commit.submit(TENANT, Entry(ticket, agent.seal()))
    ledger.nod.release(100)
    desk.wait_for(9)

    assert max(ledger.groups) <= 4


def test_a_failed_commit_fails_its_whole_group_and_nothing_else(running: Start) -> None:
    ledger, desk, agent = Gate(), Desk(), AnAgent()
    ledger.fails = True
    commit = running(ledger, desk)
    batch = agent.seal()

    commit.submit(TENANT, Entry(1, batch))
    desk.wait_for(1)
    ledger.fails = False
    commit.submit(TENANT, Entry(2, batch))
    desk.wait_for(2)

    assert isinstance(desk.answers[0].error, LedgerUnavailable)
    assert desk.answers[0].error.retryable
    assert desk.answers[1].outcomes[0].verdict is Verdict.ACCEPT


def test_too_much_waiting_is_refused_per_tenant_and_freed_by_the_commit(running: Start) -> None:
    ledger, desk, agent, other = Gate(), Desk(), AnAgent(), AnAgent(1, OTHER_TENANT)
    ledger.hold(TENANT)
    commit = running(ledger, desk, CommitSettings(tenant_waiting_bytes_max=1))

    commit.submit(TENANT, Entry(1, agent.seal()))
    with pytest.raises(LedgerBusy):
        commit.submit(TENANT, Entry(2, agent.seal()))
    commit.submit(OTHER_TENANT, Entry(3, other.seal()))
    ledger.nod.release(100)
    desk.wait_for(2)

    assert sorted(desk.tickets()) == [1, 3]
    assert commit.stop()
    assert commit.waiting_bytes == 0


def test_there_is_room_again_when_the_answer_comes(running: Start) -> None:
    """Who waits for room looks once for each answer: it must not be told too early."""
    ledger, agent = Gate(), AnAgent()
    rooms: list[bool] = []

    class Looking(Desk):
        def take(self, answer: Answer[int]) -> None:
            rooms.append(commit.has_room(TENANT))
            super().take(answer)

    desk = Looking()
    commit = running(ledger, desk, CommitSettings(tenant_waiting_bytes_max=1))

    for ticket in range(20):
        commit.submit(TENANT, Entry(ticket, agent.seal()))
        desk.wait_for(ticket + 1)

    assert rooms == [True] * 20


def test_answers_never_overtake_each_other(running: Start) -> None:
    """However long one takes to be heard, the next group of its tenant waits."""
    ledger, agent = Gate(), AnAgent()
    heard = threading.Event()

    class Slow(Desk):
        def take(self, answer: Answer[int]) -> None:
            if answer.entries[0].ticket == 1:
                heard.set()
                time.sleep(0.2)
            super().take(answer)

    desk = Slow()
    commit = running(ledger, desk, CommitSettings(writers=4))

    commit.submit(TENANT, Entry(1, agent.seal()))
    assert heard.wait(10)
    commit.submit(TENANT, Entry(2, agent.seal()))
    desk.wait_for(2)

    assert desk.tickets() == [1, 2]


def test_everything_together_is_bounded_too(running: Start) -> None:
    ledger, desk = Gate(), Desk()
    ledger.hold(TENANT)
    commit = running(ledger, desk, CommitSettings(waiting_bytes_max=1))

    commit.submit(TENANT, Entry(1, AnAgent().seal()))

    assert not commit.has_room(OTHER_TENANT)
    with pytest.raises(LedgerBusy):
        commit.submit(OTHER_TENANT, Entry(2, AnAgent(1, OTHER_TENANT).seal()))
    ledger.nod.release(100)


def test_a_tenant_whose_disk_hangs_does_not_hold_up_another(running: Start) -> None:
    ledger, desk, agent, other = Gate(), Desk(), AnAgent(), AnAgent(1, OTHER_TENANT)
    ledger.hold(TENANT)
    commit = running(ledger, desk, CommitSettings(writers=2))

    commit.submit(TENANT, Entry(1, agent.seal()))
    commit.submit(OTHER_TENANT, Entry(2, other.seal()))
    desk.wait_for(1)

    assert desk.tickets() == [2]
    ledger.nod.release(100)
    desk.wait_for(2)


def test_stopping_writes_what_waits_and_takes_no_more(running: Start) -> None:
    ledger, desk, agent = Gate(), Desk(), AnAgent()
    commit = running(ledger, desk)
    for ticket in range(5):
        commit.submit(TENANT, Entry(ticket, agent.seal()))

    assert commit.stop()

    assert desk.tickets() == list(range(5))
    with pytest.raises(LedgerBusy):
        commit.submit(TENANT, Entry(9, agent.seal()))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_breaks_says_so(running: Start) -> None:
    ledger, desk = Gate(), Desk()
    ledger.is_broken = True
    commit = running(ledger, desk, CommitSettings(writers=1))

    commit.submit(TENANT, Entry(1, AnAgent().seal()))
    commit.stop()

    assert [str(one) for one in desk.failures] == ["a bug"]
