import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.posture.judge import Verdict
from agent.sense.posture.statements import (
    Moment,
    Said,
    Subject,
    activity,
    after,
    dump_memory,
    finding_of,
    is_due,
    load_memory,
)
from proto.codec import decode_record, encode_record
from proto.model import Activity, CheckState, Disposition, FindingKind, Severity
from proto.uids import finding_key
from runtime.clock import NS_PER_S
from tests.agent.sense.posture.builders import a_check

NOW = 1_790_000_000 * NS_PER_S
CHECK = a_check()
SUBJECT = Subject(b"t" * 16, b"h" * 16)
PASS, FAIL, UNKNOWN, EXEMPT = (
    CheckState.PASS,
    CheckState.FAIL,
    CheckState.UNKNOWN,
    CheckState.NOT_APPLICABLE,
)


def a_verdict(state: CheckState = FAIL, reason: str = "mode is 0666", version: int = 1) -> Verdict:
    return Verdict(CHECK.id, version, state, reason, (b"d" * 32,))


def told(*states: CheckState) -> list[Activity]:
    said: Said | None = None
    activities = []
    for state in states:
        verdict = a_verdict(state)
        activities.append(activity(verdict, said))
        said = after(verdict, said, NOW)
    return activities


@pytest.mark.parametrize(
    ("states", "last"),
    [
        ((PASS,), Activity.CREATE),
        ((FAIL,), Activity.CREATE),
        ((UNKNOWN,), Activity.CREATE),
        ((FAIL, FAIL), Activity.UPDATE),
        ((PASS, PASS), Activity.UPDATE),
        ((PASS, FAIL), Activity.CREATE),
        ((FAIL, PASS), Activity.CLOSE),
        ((FAIL, EXEMPT), Activity.CLOSE),
        ((FAIL, UNKNOWN), Activity.UPDATE),
        ((FAIL, UNKNOWN, FAIL), Activity.UPDATE),
        ((FAIL, UNKNOWN, PASS), Activity.CLOSE),
        ((FAIL, PASS, FAIL), Activity.CREATE),
        ((FAIL, PASS, PASS), Activity.UPDATE),
    ],
)
def test_a_failure_stays_open_until_it_is_seen_to_be_gone(
    states: tuple[CheckState, ...], last: Activity
) -> None:
    assert told(*states)[-1] is last


def test_what_was_said_is_not_said_again_before_its_time() -> None:
    said = after(a_verdict(), None, NOW)

    assert not is_due(CHECK, a_verdict(), said, NOW + CHECK.interval_s * NS_PER_S - 1)
    assert is_due(CHECK, a_verdict(), said, NOW + CHECK.interval_s * NS_PER_S)


@pytest.mark.parametrize(
    "verdict", [a_verdict(PASS), a_verdict(reason="mode is 0646"), a_verdict(version=2)]
)
def test_a_change_is_said_at_once(verdict: Verdict) -> None:
    said = after(a_verdict(), None, NOW)

    assert is_due(CHECK, verdict, said, NOW + 1)
    assert is_due(CHECK, verdict, None, NOW)


def test_a_clock_set_back_does_not_silence_a_check() -> None:
    said = after(a_verdict(), None, NOW)

    assert is_due(CHECK, a_verdict(), said, NOW - 1)


@pytest.mark.parametrize("state", [PASS, FAIL, UNKNOWN, EXEMPT])
def test_only_a_failure_is_an_alert_and_has_the_severity_of_its_check(state: CheckState) -> None:
    finding = finding_of(CHECK, a_verdict(state), SUBJECT, None, Moment(NOW - 5, NOW))

    alert = (Disposition.ALERT, Severity.HIGH)
    quiet = (Disposition.SIGNAL, Severity.INFORMATIONAL)
    assert (finding.disposition, finding.severity) == (alert if state is FAIL else quiet)


def test_a_finding_names_its_check_its_evidence_and_its_references() -> None:
    finding = finding_of(CHECK, a_verdict(), SUBJECT, None, Moment(NOW - 5, NOW))

    assert finding.kind is FindingKind.COMPLIANCE
    assert finding.title == CHECK.title
    assert finding.key == finding_key(
        SUBJECT.tenant, SUBJECT.host, FindingKind.COMPLIANCE, CHECK.id, CHECK.id
    )
    assert (finding.event_time, finding.observed_at) == (NOW - 5, NOW)
    assert finding.check is not None
    assert finding.check.evidence == (b"d" * 32,)
    assert finding.check.references == CHECK.references
    assert finding.check.max_age == CHECK.max_age_s * NS_PER_S
    assert [(one.name, one.value) for one in finding.arguments] == [("reason", "mode is 0666")]


def test_a_finding_goes_over_the_wire_and_back() -> None:
    finding = finding_of(CHECK, a_verdict(), SUBJECT, None, Moment(NOW, NOW))

    assert decode_record(encode_record(finding)) == (finding, False)


@given(
    st.dictionaries(
        st.text(max_size=64),
        st.builds(
            Said,
            st.sampled_from([PASS, FAIL, UNKNOWN, EXEMPT]),
            st.text(max_size=16),
            st.integers(0, 9),
            st.integers(0, NOW),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_memory_survives_a_restart(memory: dict[str, Said]) -> None:
    assert load_memory(dump_memory(memory)) == memory


@given(st.binary(max_size=80))
def test_memory_that_cannot_be_read_is_none(data: bytes) -> None:
    memory = load_memory(data)

    assert all(isinstance(said, Said) for said in memory.values())
