from pathlib import Path
from random import Random

import pytest

from collector.errors import LedgerUnavailable
from collector.ledger.flags import FlagKind
from collector.ledger.reader import LedgerReader
from collector.ledger.store import TenantStore
from proto.model import RecordRef
from tests.collector.sealing import NOW, TENANT, AnAgent


@pytest.fixture
def store(tmp_path: Path) -> TenantStore:
    return TenantStore(tmp_path / "ledger.db", TENANT, Random(0).randbytes)


@pytest.fixture
def reader(store: TenantStore, tmp_path: Path) -> LedgerReader:
    return LedgerReader(tmp_path / "ledger.db")


def test_a_reader_sees_what_was_committed_since_it_was_opened(
    store: TenantStore, reader: LedgerReader
) -> None:
    agent = AnAgent()
    assert reader.last_position() == 0

    store.append([agent.seal(), agent.seal()], NOW)

    assert reader.last_position() == 2
    assert reader.generation() == store.generation
    assert reader.public_key(agent.id.bytes) == agent.key.public.raw
    assert reader.public_key(b"x" * 16) is None
    assert not reader.is_own(agent.id.bytes)


def test_a_batch_is_found_by_its_position_or_by_a_record_in_it(
    store: TenantStore, reader: LedgerReader
) -> None:
    agent = AnAgent()
    batches = [agent.seal() for _ in range(3)]
    store.append(batches, NOW)

    ref = RecordRef(agent.id.bytes, agent.epoch, 2, 0)

    assert reader.find(ref) == reader.at(2)
    assert reader.at(2).header_hash == batches[1].header_hash  # type: ignore[union-attr]
    assert reader.at(9) is None
    assert reader.find(RecordRef(b"x" * 16, agent.epoch, 2, 0)) is None


def test_holes_are_listed_once_they_are_old_enough_and_until_they_close(
    store: TenantStore, reader: LedgerReader
) -> None:
    agent = AnAgent()
    first, second, third = (agent.seal() for _ in range(3))
    store.append([first, third], NOW)

    (hole,) = reader.holes(NOW + 1, 9)

    assert (hole.wanted, hole.top, hole.since) == (2, 3, NOW)
    assert reader.holes(NOW, 9) == []
    store.append([second], NOW + 5)
    assert reader.holes(NOW + 10, 9) == []


def test_an_epoch_is_no_orphan_once_the_batch_it_follows_has_come(
    store: TenantStore, reader: LedgerReader
) -> None:
    agent = AnAgent()
    store.append([agent.seal()], NOW)
    agent.start()
    parent = agent.seal()
    agent.start()
    store.append([agent.seal()], NOW)

    assert [flag.kind for flag in reader.orphans(NOW + 1, 9)] == [FlagKind.STATE_LOSS]
    store.append([parent], NOW)
    assert reader.orphans(NOW + 1, 9) == []


def test_there_is_nothing_to_read_where_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        LedgerReader(tmp_path / "none.db")
