import gc
import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import structs

from certs.identity import AgentId, TenantId
from collector import work
from collector.errors import LedgerCorrupt, LedgerUnavailable
from collector.forward.ports import TenantLedger
from collector.index import queries
from collector.index.queries import FindingFilter
from collector.ledger.derived import Sealer
from collector.ledger.log import LogReader
from collector.ledger.ports import Mark, Outcome, Seal
from collector.ledger.proofs import Proofs
from collector.ledger.sqlite import SqliteLedger
from collector.ports import AdmittedBatch
from collector.tenantwork import Tools
from proto.model import Incident, IncidentStatus, Record, Score
from proto.tlog import PROOF_SIZE_BYTES_MAX
from tests.collector.shell import (
    QUIET_S,
    Sealing,
    Shell,
    a_detection,
    a_work,
    admitted,
    derived,
    dump,
    live,
    lived,
    settle,
    three_that_belong_together,
    until_idle,
    working,
)

PROJECTIONS = ("index", "correlate", "comply")


def findings(shell: Shell, tenant: TenantId) -> list[dict[str, object]]:
    db = queries.open_index(str(shell.files.projection(tenant, "index")))
    rows = list(queries.findings(db, FindingFilter()))
    db.close()
    return rows


def revisions(shell: Shell, tenant: TenantId) -> Counter[tuple[bytes, int]]:
    return Counter((one.uid, one.revision) for one in derived(shell, tenant, Incident))


def test_what_hosts_sealed_is_found_once_whatever_comes_again(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()
    host = Sealing(tenant)
    batches = [host.seal(a_detection(1), a_detection(2)), host.seal(), host.seal(a_detection(3))]

    for _ in range(2):
        shell.append(tenant, *batches)
        with working(shell, tenant) as worked:
            until_idle(worked)
            worked.turn()

    found = findings(shell, tenant)
    assert [row["title"] for row in found] == ["Finding 3", "Finding 2", "Finding 1"]
    assert {row["host"] for row in found} == {"web-1"}
    assert len({row["uid"] for row in found}) == 3


def test_findings_that_belong_together_become_an_incident_of_our_own_batch(
    tmp_path: Path,
) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()
    host = Sealing(tenant)
    shell.append(tenant, host.seal(*three_that_belong_together()))

    with working(shell, tenant) as worked:
        until_idle(worked)

    (incident,) = derived(shell, tenant, Incident)
    assert (incident.status, incident.count) == (IncidentStatus.OPEN, 3)
    assert incident.hosts == (host.agent,)
    assert {ref.agent for ref in incident.sources} == {host.agent}
    own = [batch for batch in admitted(shell, tenant) if batch.derived]
    assert {batch.agent for batch in own} == {shell.tools().sealer.agent}
    assert all(batch.trusted for batch in own)


def test_an_incident_that_has_been_quiet_is_closed_once(tmp_path: Path) -> None:
    shell, tenant = lived(tmp_path)

    told = derived(shell, tenant, Incident)

    assert [one.status for one in told] == [IncidentStatus.OPEN, IncidentStatus.CLOSED]
    assert len({one.uid for one in told}) == 1
    assert len(derived(shell, tenant, Score)) >= 3


def test_the_mark_comes_to_the_end_of_the_ledger_our_own_batches_included(tmp_path: Path) -> None:
    shell, tenant = lived(tmp_path)

    with working(shell, tenant) as worked:
        last = shell.tools().ledger.reader(tenant).last_position()

        assert worked.mark == last == len(admitted(shell, tenant))
        assert {lag.batches for lag in worked.lags().values()} == {0}
        assert set(worked.lags()) == set(PROJECTIONS)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_a_rebuild_gives_the_same_ordered_dump_and_seals_nothing_again(
    tmp_path: Path, name: str
) -> None:
    shell, tenant = lived(tmp_path)
    path = shell.files.projection(tenant, name)
    before, sealed = dump(path), len(admitted(shell, tenant))
    assert any(before.values())

    asked = shell.files.directory(tenant) / f"{name}.rebuild"
    asked.touch()
    with working(shell, tenant) as worked:
        until_idle(worked)
        worked.tick()
        until_idle(worked)

    assert dump(path) == before
    assert len(admitted(shell, tenant)) == sealed
    assert not asked.exists()


def test_what_came_late_for_a_closed_incident_is_told_the_same_after_a_rebuild(
    tmp_path: Path,
) -> None:
    """When it was closed stands in no host's batch: a rebuild finds it among our own."""
    shell = Shell(tmp_path)
    tenant = shell.init()
    host = Sealing(tenant)
    live(shell, tenant, host)
    late = [structs.replace(one, title="late") for one in three_that_belong_together()]
    shell.append(tenant, host.seal(*late))
    with working(shell, tenant) as worked:
        settle(shell, worked)
    path = shell.files.projection(tenant, "correlate")
    before, sealed = dump(path), revisions(shell, tenant)

    (shell.files.directory(tenant) / "correlate.rebuild").touch()
    with working(shell, tenant) as worked:
        settle(shell, worked)

    assert len(before["episodes"]) == 2
    assert dump(path) == before
    assert revisions(shell, tenant) == sealed
    assert set(sealed.values()) == {1}


def test_a_projection_that_was_lost_comes_back_as_it_was(tmp_path: Path) -> None:
    shell, tenant = lived(tmp_path)
    before = {name: dump(shell.files.projection(tenant, name)) for name in PROJECTIONS}
    sealed = revisions(shell, tenant)

    for name in PROJECTIONS:
        for path in shell.files.directory(tenant).glob(f"{name}.db*"):
            path.unlink()
    with working(shell, tenant) as worked:
        until_idle(worked)
        worked.tick()
        until_idle(worked)

    after = {name: dump(shell.files.projection(tenant, name)) for name in PROJECTIONS}
    assert after == before
    assert revisions(shell, tenant) == sealed


class Killed(BaseException):
    """The process ends here."""


class Fate:
    """Counts the points at which a process may end, and ends it at one of them."""

    def __init__(self, at: int) -> None:
        self.left = at

    def point(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


class DyingLedger(SqliteLedger):
    """Ends the process before or right after a commit of our own."""

    fate: Fate

    def append_own(
        self, tenant: TenantId, agent: AgentId, mark: Mark | None, seal: Seal
    ) -> Outcome | None:
        self.fate.point()
        outcome = super().append_own(tenant, agent, mark, seal)
        self.fate.point()
        return outcome


class DyingProjection:
    """Ends the process before a projection's work, or in the middle of its transaction."""

    def __init__(self, inner: object, fate: Fate) -> None:
        self._inner = inner
        self._fate = fate
        self.name: str = inner.name  # type: ignore[attr-defined]
        self.schema: str = inner.schema  # type: ignore[attr-defined]

    def apply(self, db: sqlite3.Connection, batch: AdmittedBatch) -> Sequence[Record]:
        self._fate.point()
        found: Sequence[Record] = self._inner.apply(db, batch)  # type: ignore[attr-defined]
        self._fate.point()
        return found

    def tick(self, db: sqlite3.Connection, tenant: TenantId, now: int) -> Sequence[Record]:
        self._fate.point()
        if not hasattr(self._inner, "tick"):
            return ()
        found: Sequence[Record] = self._inner.tick(db, tenant, now)
        self._fate.point()
        return found


def dying_tools(shell: Shell, fate: Fate) -> Tools:
    tools = shell.tools()
    tools.ledger.close()
    ledger = DyingLedger(shell.files, shell.clock, lambda count: bytes(range(count)))
    ledger.fate = fate
    whole: Sealer = tools.sealer
    sealer = Sealer(tools.own_key, ledger, whole._facts, shell.clock, bytes)  # noqa: SLF001
    return structs.replace(tools, ledger=ledger, sealer=sealer)


def live_until(shell: Shell, tenant: TenantId, fate: Fate) -> bool:
    """Work until everything is done or the process ends; return whether it was done."""
    tools = dying_tools(shell, fate)
    made = [DyingProjection(one, fate) for one in work.projections(shell.settings)]
    worked = a_work(tenant, tools, made)
    try:
        until_idle(worked)
        shell.clock.forward(QUIET_S)
        worked.tick()
        until_idle(worked)
    except Killed:
        return False
    finally:
        worked.close()
        tools.ledger.close()
    return True


def test_an_incident_is_sealed_once_wherever_the_worker_was_killed(tmp_path: Path) -> None:
    """At every point of a life in turn: the next life finishes what that one began."""
    fresh = Shell(tmp_path / "fresh")
    tenant = fresh.init()
    fresh.append(tenant, Sealing(tenant).seal(*three_that_belong_together()))
    points = 0
    done = False
    while not done:
        points += 1
        shell = Shell(tmp_path / str(points))
        shutil.copytree(fresh.state, shell.state)

        done = live_until(shell, tenant, Fate(points))
        if not done:
            assert live_until(shell, tenant, Fate(-1))

        told = [(one.status, one.count) for one in derived(shell, tenant, Incident)]
        assert told == [(IncidentStatus.OPEN, 3), (IncidentStatus.CLOSED, 3)]
        assert len(findings(shell, tenant)) == 3
        sealed_scores = Counter((s.framework, s.as_of) for s in derived(shell, tenant, Score))
        assert set(sealed_scores.values()) == {1}
    assert points > 20


def test_a_finding_can_be_proven_as_soon_as_a_checkpoint_is_signed(tmp_path: Path) -> None:
    shell, tenant = lived(tmp_path)
    tools = shell.tools()
    (batch, *_) = admitted(shell, tenant)

    ledger = tools.sources.ledger(tenant)
    proof = Proofs(tenant, tools.ledger.reader(tenant), _log(ledger)).proof_of(batch.records[0].ref)

    assert 0 < len(proof) < PROOF_SIZE_BYTES_MAX
    newest = ledger.checkpoint()
    assert newest is not None
    assert newest.size == len(admitted(shell, tenant))
    tools.ledger.close()


def _log(ledger: TenantLedger) -> LogReader:
    found = ledger.source._log  # type: ignore[attr-defined]  # noqa: SLF001
    assert isinstance(found, LogReader)
    return found


@pytest.mark.parametrize("name", [*PROJECTIONS, "log", "ledger"])
def test_a_file_that_cannot_be_opened_is_named_and_nothing_is_left_open(
    tmp_path: Path, name: str
) -> None:
    shell, tenant = lived(tmp_path)
    for path in shell.files.directory(tenant).glob(f"{name}.db-*"):
        path.unlink()
    (shell.files.directory(tenant) / f"{name}.db").write_bytes(b"not a database" * 1000)
    tools = shell.tools()
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))

    with pytest.raises(LedgerCorrupt, match=f"{name}.db is damaged"):
        a_work(tenant, tools)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    tools.ledger.close()


def test_a_tenant_is_forwarded_from_when_its_batches_are_admitted(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()
    tools = shell.tools()
    before = tools.sources.tenants()
    with pytest.raises(LedgerUnavailable):
        tools.sources.ledger(tenant)

    a_work(tenant, tools).close()

    assert (before, tools.sources.tenants()) == ([], [tenant])
    assert tools.sources.ledger(tenant).checkpoint() is None
    assert tools.sources.forward_path(tenant).name == "forward.db"
    tools.ledger.close()


def test_what_the_worker_has_opened_is_decoded_once_for_those_who_forward(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()
    shell.append(tenant, Sealing(tenant).seal(a_detection(1)))
    tools = shell.tools()
    worked = a_work(tenant, tools)
    until_idle(worked)

    (first,) = tools.sources.ledger(tenant).source.read(0, 1)
    (again,) = tools.sources.ledger(tenant).source.read(0, 1)

    assert first is again
    assert first.records[0].record == a_detection(1)
    worked.close()
    tools.ledger.close()
