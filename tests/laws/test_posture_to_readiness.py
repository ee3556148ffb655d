"""From a host's files to a framework's score: what was not seen never becomes evidence."""

import pytest

from agent.hostroot import HostFileDenied, HostFileError, HostFileTooLarge
from agent.sense.posture.engine import PostureSensor
from agent.sense.posture.statements import Subject
from collector.comply import queries
from collector.comply.report import text
from collector.comply.score import Readiness
from proto.codec import decode_record, encode_record
from proto.content.checks import builtin_pack
from proto.model import CheckState, Record
from runtime.clock import NS_PER_S
from tests.agent.sense.posture.builders import a_good_host
from tests.collector.builders import TENANT
from tests.collector.comply.builders import HOST, Ledger
from tests.fakes.clock import FakeClock
from tests.fakes.hostfiles import FakeHostFiles

HOURS = 3600


class Rig:
    """One agent, one collector, and the wire between them."""

    def __init__(self, host: FakeHostFiles) -> None:
        self.host = host
        self.clock = FakeClock()
        self.ledger = Ledger()
        self.sensor = PostureSensor(host, self.clock, Subject(TENANT.bytes, HOST), builtin_pack())
        self.sensor.start(b"")

    def look(self) -> tuple[Readiness, ...]:
        self.send()
        return self.readings()

    def send(self) -> None:
        records = [decode_record(encode_record(one))[0] for one in self.sensor.poll(10**30)]
        sent: list[Record] = [record for record in records if record is not None]
        assert len(sent) == len(records)
        self.ledger.take(*sent, received=self.clock.wall_ns() + NS_PER_S)

    def readings(self) -> tuple[Readiness, ...]:
        return queries.readings(self.ledger.db, self.clock.wall_ns())


def states(reading: Readiness) -> set[CheckState]:
    return {item.state for item in reading.items}


def slow() -> Rig:
    host = a_good_host()
    rig = Rig(host)
    host.on_look = lambda path: rig.clock.forward(5)
    return rig


BLIND = {
    "no files": lambda: Rig(FakeHostFiles()),
    "denied": lambda: Rig(a_good_host().refuse_all(HostFileDenied)),
    "too large": lambda: Rig(a_good_host().refuse_all(HostFileTooLarge)),
    "broken": lambda: Rig(a_good_host().refuse_all(HostFileError)),
    "cut": lambda: Rig(a_good_host().truncate_all()),
    "slow": slow,
}


@pytest.mark.parametrize("name", BLIND)
def test_a_blind_agent_earns_nothing_at_any_level(name: str) -> None:
    rig = BLIND[name]()

    readings = rig.look()

    assert len(readings) == 3
    for reading in readings:
        assert reading.score == 0.0
        assert states(reading).isdisjoint({CheckState.PASS, CheckState.NOT_APPLICABLE})
        assert reading.hosts == 1
        assert name == "cut" or (reading.no_evidence and reading.coverage == 0.0)
    assert name == "cut" or "no evidence" in text(readings)


def test_a_good_host_earns_the_whole_score_and_no_whole_requirement() -> None:
    for reading in Rig(a_good_host()).look():
        assert (reading.score, reading.coverage, reading.upper) == (1.0, 1.0, 1.0)
        assert 0 < reading.evidenced < len(reading.items) / 5
        assert max(item.score for item in reading.items) < 1


def test_an_agent_that_goes_silent_loses_its_score_and_keeps_its_failures() -> None:
    rig = Rig(a_good_host().change("/etc/passwd", mode=0o666))
    fresh = rig.look()[0]

    rig.clock.forward(8 * 24 * HOURS)
    aged = rig.readings()[0]

    assert (aged.score, aged.coverage) == (0.0, 0.0)
    assert aged.upper <= fresh.upper < 1
    assert aged.hosts_failing == fresh.hosts_failing == 1


def test_an_agent_that_keeps_looking_keeps_its_score() -> None:
    rig = Rig(a_good_host())
    rig.look()

    for _ in range(10 * 24):
        rig.clock.forward(HOURS)
        rig.send()

    assert {reading.score for reading in rig.readings()} == {1.0}


def test_an_agent_that_loses_its_sight_loses_its_score_at_once_and_no_failure() -> None:
    rig = Rig(a_good_host().change("/etc/passwd", mode=0o666))
    seen = rig.look()[0]
    rig.clock.forward(HOURS)
    rig.host.refuse_all(HostFileDenied)

    blind = rig.look()[0]

    assert seen.score > 0.9
    assert blind.score == 0.0
    assert blind.hosts_failing == 1
    assert blind.upper <= seen.upper


def test_mending_a_failure_is_seen_in_the_score() -> None:
    rig = Rig(a_good_host().change("/etc/passwd", mode=0o666))
    before = rig.look()[0]
    rig.clock.forward(HOURS)
    rig.host.change("/etc/passwd", mode=0o644)

    after = rig.look()[0]

    assert before.score < after.score == 1.0
    assert after.hosts_failing == 0
