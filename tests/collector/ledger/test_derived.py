import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import LedgerUnavailable
from collector.ledger.derived import OwnFacts, Sealer
from collector.ledger.pending import (
    SCHEMA,
    Pending,
    add_pending,
    forget_pending,
    read_pending,
)
from collector.ledger.ports import Mark
from proto.model import RAW_BYTES_MAX, Argument, Audit, Evidence
from tests.collector.ledger.world import OWN_KEY, World, an_audit
from tests.collector.sealing import TENANT
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import MemoryLedger


class Source:
    """A projection's pending table, with a disk that can lose what came after a snapshot."""

    name = "correlate"

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(SCHEMA)

    def pending(self, after: int, count_max: int) -> Sequence[Pending]:
        return read_pending(self.db, after, count_max)

    def forget(self, upto: int) -> None:
        forget_pending(self.db, upto)

    def add(self, position: int, *records: object) -> None:
        add_pending(self.db, position, records)  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def sealed(world: World) -> list[str]:
    world.admit_all()
    return [
        one.record.action
        for batch in world.admitted.read(0, 999)
        for one in batch.records
        if isinstance(one.record, Audit)
    ]


def test_what_waits_is_sealed_in_order_as_our_own_and_then_forgotten(world: World) -> None:
    source = Source()
    source.add(9, an_audit("a"), an_audit("b"))

    count = world.sealer.seal_pending(TENANT, source)

    assert count == 2
    assert sealed(world) == ["a", "b"]
    (batch,) = world.admitted.read(0, 9)
    assert (batch.derived, batch.trusted) == (True, True)
    assert batch.agent == world.sealer.agent
    assert source.pending(0, 9) == []
    assert world.ledger.mark(TENANT, "correlate") == Mark("correlate", 2, 9)
    assert world.sealer.seal_pending(TENANT, source) == 0


def test_our_chain_goes_on_over_restarts(tmp_path: Path) -> None:
    for action in ("a", "b", "c"):
        world = World(tmp_path)
        world.sealer.seal(TENANT, [an_audit(action)])
        world.close()
    world = World(tmp_path)

    assert sealed(world) == ["a", "b", "c"]
    assert [batch.header.seq for batch in world.admitted.read(0, 9)] == [1, 2, 3]
    assert len({batch.header.epoch for batch in world.admitted.read(0, 9)}) == 1


def test_a_crash_after_the_seal_and_before_the_forgetting_seals_nothing_twice(
    world: World,
) -> None:
    source = Source()
    source.add(1, an_audit("a"))
    world.sealer.seal_pending(TENANT, source)
    source.db.execute("INSERT INTO pending SELECT 1, 1, x'00'")
    source.add(2, an_audit("b"))

    world.sealer.seal_pending(TENANT, source)

    assert sealed(world) == ["a", "b"]
    assert source.pending(0, 9) == []


def test_records_that_do_not_fit_one_batch_go_into_the_next(world: World) -> None:
    source = Source()
    for number in range(300):
        source.add(number, an_audit(str(number)))
    big = Evidence("p", "1", "{}", 1, 1, "", b"x" * 60_000, b"d" * 32)
    source.add(301, *[big] * 20)

    sizes = []
    while count := world.sealer.seal_pending(TENANT, source):
        sizes.append(count)

    assert sizes[0] == 256
    assert sum(sizes) == 320
    world.admit_all()
    assert world.log.reader.refused() == 0
    assert max(b.header.raw_bytes for b in world.admitted.read(0, 99)) <= RAW_BYTES_MAX


def test_where_nothing_waits_nothing_is_written(world: World) -> None:
    """The worker asks several times a second: an idle collector must not wear its disk out."""
    world.log.tell("one", 1, [an_audit()])
    world.sealer.seal_pending(TENANT, world.log)
    before = world.files.log(TENANT).with_name("log.db-wal").read_bytes()

    for _ in range(3):
        assert world.sealer.seal_pending(TENANT, world.log) == 0

    assert world.files.log(TENANT).with_name("log.db-wal").read_bytes() == before


def test_a_disk_that_is_full_leaves_everything_waiting() -> None:
    ledger, source = MemoryLedger(bytes), Source()
    facts = OwnFacts(host_name="collector", version="0.1.0", boot_id=bytes(16))
    sealer = Sealer(OWN_KEY, ledger, facts, FakeClock(), bytes)
    source.add(1, an_audit())
    ledger.fails = True

    with pytest.raises(LedgerUnavailable):
        sealer.seal_pending(TENANT, source)

    assert len(source.pending(0, 9)) == 1


@given(st.lists(st.sampled_from(["add", "seal", "crash"]), max_size=30))
def test_every_record_is_sealed_exactly_once_whatever_the_source_loses(steps: list[str]) -> None:
    """A crash takes the source back to any earlier state: its ids and records come again."""
    ledger, source = MemoryLedger(bytes), Source()
    facts = OwnFacts(host_name="collector", version="0.1.0", boot_id=bytes(16))
    sealer = Sealer(OWN_KEY, ledger, facts, FakeClock(), bytes)
    made = 0

    for step in steps:
        if step == "add":
            made += 1
            source.add(made, an_audit(str(made)))
        elif step == "seal":
            sealer.seal_pending(TENANT, source)
        else:
            source = Source()
            for number in range(1, made + 1):
                source.add(number, an_audit(str(number)))
    while sealer.seal_pending(TENANT, source):
        pass

    kept = ledger.read(TENANT, 0, 999, 1 << 30)
    assert sum(count_records(one.header) for one in kept) == made


def count_records(header: bytes) -> int:
    from proto import codec  # noqa: PLC0415

    return codec.decode_header(header).records


def test_an_argument_of_any_length_that_fits_a_record_is_sealed(world: World) -> None:
    source = Source()
    audit = Audit("us", "act", "it", "done", 1, (Argument("long", "x" * 60_000),))
    source.add(1, audit)

    assert world.sealer.seal_pending(TENANT, source) == 1
    assert sealed(world) == ["act"]
