from pathlib import Path
from random import Random

import pytest

from collector.errors import LedgerForeign, LedgerUnavailable
from collector.ledger.chain import Verdict
from collector.ledger.flags import Flag, FlagKind
from collector.ledger.ports import OwnPlace, SealedBatch
from collector.ledger.reader import LedgerReader
from collector.ledger.store import TenantStore
from tests.collector.sealing import NOW, OTHER_TENANT, TENANT, AnAgent

RANDOM = Random(0).randbytes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_a_file_keeps_the_generation_it_was_made_with(path: Path) -> None:
    first = TenantStore(path, TENANT, RANDOM)
    first.close()

    assert TenantStore(path, TENANT, RANDOM).generation == first.generation


def test_another_tenants_file_is_refused(path: Path) -> None:
    TenantStore(path, TENANT, RANDOM).close()

    with pytest.raises(LedgerForeign):
        TenantStore(path, OTHER_TENANT, RANDOM)


def test_a_group_that_fails_leaves_nothing_and_the_next_is_judged_by_the_file(path: Path) -> None:
    store, agent = TenantStore(path, TENANT, RANDOM), AnAgent()
    first, second = agent.seal(), agent.seal([b"x" * 200_000] * 4)
    store.append([first], NOW)
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]  # noqa: SLF001  (a small disk)
    store._db.execute(f"PRAGMA max_page_count={pages + 1}")  # noqa: SLF001  (as above)
    big = SealedBatch(
        **{name: getattr(second, name) for name in second.__struct_fields__ if name != "body"},
        body=bytes(800_000),
    )

    with pytest.raises(LedgerUnavailable):
        store.append([big], NOW)
    outcome = store.append([first], NOW)[0]

    assert outcome.verdict is Verdict.DUPLICATE
    assert outcome.head.seq == 1
    assert LedgerReader(path).last_position() == 1


def test_an_own_batch_that_cannot_be_made_moves_no_mark(path: Path) -> None:
    store, agent = TenantStore(path, TENANT, RANDOM), AnAgent("own")

    def fail(_: OwnPlace) -> SealedBatch:
        raise KeyError("no")

    with pytest.raises(KeyError):
        store.append_own(agent.id, None, fail, NOW)
    outcome = store.append_own(agent.id, None, lambda _: agent.seal(), NOW)

    assert outcome is not None
    assert outcome.head.seq == 1
    assert LedgerReader(path).is_own(agent.id.bytes)


def test_a_later_flag_and_its_release_are_kept(path: Path) -> None:
    store, agent = TenantStore(path, TENANT, RANDOM), AnAgent()
    store.append([agent.seal()], NOW)
    flag = Flag(
        position=1,
        at=NOW,
        agent=agent.id.bytes,
        epoch=agent.epoch,
        seq=1,
        kind=FlagKind.BODY,
        quarantines=True,
    )

    store.flag(flag)
    reader = LedgerReader(path)

    assert reader.is_quarantined(agent.id.bytes, 1)
    assert store.release(agent.id) == 1
    assert not reader.is_quarantined(agent.id.bytes, 2)
