from msgspec import structs

from agent.hostroot import HostFileDenied
from agent.sense import ports
from agent.sense.posture.engine import SPEC, PostureSensor, PostureSettings
from agent.sense.posture.judge import rejudge
from agent.sense.posture.statements import Subject
from proto.content.checks import builtin_pack
from proto.model import Activity, CheckState, Evidence, Finding, HealthState
from runtime.clock import NS_PER_S
from tests.agent.sense.posture.builders import a_good_host
from tests.fakes.clock import FakeClock
from tests.fakes.hostfiles import FakeHostFiles

HOUR = 3600
FAR = 10**30
CHECKS = builtin_pack().checks


class Rig:
    """A sensor over a host that a test can change, and all it has said."""

    def __init__(self, cursor: bytes = b"") -> None:
        self.host = a_good_host()
        self.clock = FakeClock()
        self.sensor = self._sensor()
        self.sensor.start(cursor)

    def _sensor(self) -> PostureSensor:
        subject = Subject(b"t" * 16, b"h" * 16)
        return PostureSensor(self.host, self.clock, subject, builtin_pack(), PostureSettings())

    def restart(self) -> None:
        cursor = self.sensor.cursor()
        self.sensor.stop()
        self.sensor = self._sensor()
        self.sensor.start(cursor)

    def look(self, hours: float = 0) -> tuple[list[Evidence], list[Finding]]:
        self.clock.forward(hours * HOUR)
        said = self.sensor.poll(FAR)
        evidence = [record for record in said if isinstance(record, Evidence)]
        return evidence, [record for record in said if isinstance(record, Finding)]


def states(findings: list[Finding]) -> set[CheckState]:
    return {finding.check.state for finding in findings if finding.check is not None}


def test_the_first_pass_says_every_verdict_behind_its_evidence() -> None:
    rig = Rig()

    evidence, findings = rig.look()

    known = {piece.digest for piece in evidence}
    assert [finding.rule.id for finding in findings] == [check.id for check in CHECKS]
    assert states(findings) == {CheckState.PASS}
    assert len(known) == len(evidence)
    assert all(
        digest in known
        for finding in findings
        if finding.check
        for digest in finding.check.evidence
    )


def test_the_verdicts_said_are_those_that_the_evidence_gives_offline() -> None:
    rig = Rig()
    rig.host.change("/etc/shadow", mode=0o666)

    evidence, findings = rig.look()

    again = rejudge(evidence, CHECKS)
    said = [(one.check.state, one.check.reason) for one in findings if one.check]
    assert [(verdict.state, verdict.reason) for verdict in again] == said


def test_a_pass_in_which_nothing_changed_says_nothing() -> None:
    rig = Rig()
    rig.look()

    assert rig.look(hours=1) == ([], [])


def test_a_change_is_said_with_its_own_evidence_alone() -> None:
    rig = Rig()
    rig.look()
    rig.host.change("/etc/passwd", mode=0o666)

    evidence, findings = rig.look(hours=1)

    assert [finding.rule.id for finding in findings] == ["linux.file.passwd_unalterable"]
    assert findings[0].activity is Activity.CREATE
    assert [piece.probe for piece in evidence] == ["file"]


def test_a_failure_that_was_mended_is_closed_under_the_same_key() -> None:
    rig = Rig()
    rig.host.change("/etc/passwd", mode=0o666)
    failing = next(one for one in rig.look()[1] if one.rule.id.endswith("passwd_unalterable"))
    rig.host.change("/etc/passwd", mode=0o644)

    (mended,) = rig.look(hours=1)[1]

    assert mended.activity is Activity.CLOSE
    assert mended.key == failing.key


def test_once_a_day_every_verdict_is_said_again_with_fresh_evidence() -> None:
    rig = Rig()
    first, _ = rig.look()
    for _ in range(23):
        assert rig.look(hours=1) == ([], [])

    evidence, findings = rig.look(hours=1)

    assert len(findings) == len(CHECKS)
    assert {finding.activity for finding in findings} == {Activity.UPDATE}
    assert min(piece.collected_at for piece in evidence) > max(
        piece.collected_at for piece in first
    )


def test_a_restart_says_nothing_twice_and_forgets_no_open_failure() -> None:
    rig = Rig()
    rig.host.change("/etc/passwd", mode=0o666)
    rig.look()
    rig.restart()

    assert rig.look() == ([], [])
    rig.host.change("/etc/passwd", mode=0o644)
    (mended,) = rig.look(hours=1)[1]
    assert mended.activity is Activity.CLOSE


def test_a_memory_that_is_lost_or_spoilt_means_that_all_is_said_anew() -> None:
    for cursor in (b"", b"{", b"\xff" * 9, b"[]"):
        assert len(Rig(cursor).look()[1]) == len(CHECKS)


def test_what_was_not_given_out_is_not_remembered_as_said() -> None:
    rig = Rig()
    rig.clock.forward(1)

    rig.sensor.poll(rig.clock.boot_ns())

    assert rig.sensor.cursor() == b"{}"


def test_a_pass_is_cut_into_slices_and_each_goes_on() -> None:
    rig = Rig()
    slices = 0
    said = rig.sensor.poll(rig.clock.boot_ns())
    while not said:
        slices += 1
        assert rig.sensor.due() == rig.clock.boot_ns()
        said = rig.sensor.poll(rig.clock.boot_ns())

    assert slices > 10
    assert len([one for one in said if isinstance(one, Finding)]) == len(CHECKS)
    assert rig.sensor.due() == rig.clock.boot_ns() + HOUR * NS_PER_S


def test_more_than_a_poll_may_return_comes_in_order_over_several() -> None:
    many = tuple(
        structs.replace(check, id=f"{check.id}.n{number}")
        for check in CHECKS
        for number in range(30)
    )
    rig = Rig()
    pack = structs.replace(builtin_pack(), checks=many)
    sensor = PostureSensor(rig.host, rig.clock, Subject(b"t" * 16, b"h" * 16), pack)
    sensor.start(b"")

    first = sensor.poll(FAR)
    assert sensor.due() == rig.clock.boot_ns()
    second = sensor.poll(FAR)

    assert len(first) == ports.POLL_SIGHTINGS_MAX
    findings = [one.rule.id for one in (*first, *second) if isinstance(one, Finding)]
    assert findings == [check.id for check in many]


def test_before_it_is_due_nothing_is_looked_at() -> None:
    rig = Rig()
    rig.look()
    rig.host.looks.clear()

    assert rig.look(hours=0.5) == ([], [])
    assert rig.host.looks == []


def test_an_agent_that_lost_its_sight_says_unknown_and_is_blind() -> None:
    rig = Rig()
    rig.look()
    rig.host.refuse_all(HostFileDenied)

    _, findings = rig.look(hours=1)

    assert states(findings) == {CheckState.UNKNOWN}
    health = rig.sensor.health()
    assert health.state is HealthState.BLIND
    assert health.reason == "20 of 20 checks are unknown: denied"


def test_health_tells_what_part_was_not_seen() -> None:
    rig = Rig()
    assert rig.sensor.health().state is HealthState.DEGRADED
    rig.look()
    assert rig.sensor.health().state is HealthState.OK
    seen_at = rig.clock.wall_ns()
    rig.host.change("/etc/shadow", refuse=HostFileDenied)

    rig.look(hours=1)

    health = rig.sensor.health()
    assert health.state is HealthState.DEGRADED
    assert health.reason == "4 of 20 checks are unknown: denied"
    assert health.last_success == seen_at + HOUR * NS_PER_S


def test_an_unknown_verdict_does_not_close_what_failed() -> None:
    rig = Rig()
    rig.host.change("/etc/passwd", mode=0o666)
    rig.look()
    rig.host.change("/etc/passwd", refuse=HostFileDenied)

    _, findings = rig.look(hours=1)

    by_id = {finding.rule.id: finding for finding in findings}
    assert by_id["linux.file.passwd_unalterable"].activity is Activity.UPDATE


def test_before_start_and_after_stop_it_is_silent() -> None:
    rig = Rig()
    rig.sensor.stop()
    rig.sensor.stop()

    assert rig.sensor.due() is None
    assert rig.sensor.poll(FAR) == ()
    assert rig.sensor.descriptors() == ()


def test_it_has_the_methods_of_a_sensor() -> None:
    wanted = {name for name in vars(ports.Sensor) if not name.startswith("_")}

    assert all(hasattr(PostureSensor, name) for name in wanted)
    assert SPEC.name == "posture"


def test_a_host_without_files_is_said_to_be_unknown() -> None:
    rig = Rig()
    rig.host.nodes.clear()

    evidence, findings = rig.look()

    assert states(findings) == {CheckState.UNKNOWN}
    assert {piece.unknown for piece in evidence} <= {"missing", "offline"}
    assert isinstance(rig.host, FakeHostFiles)
