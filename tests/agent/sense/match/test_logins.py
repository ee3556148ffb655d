"""Logins become signals with technique, origin and a key that names who tried what from where."""

import os
from pathlib import Path

import pytest
from msgspec import UNSET, structs

from agent.sense.match.logins import ATTACK_VERSION, LOGIN_RULES, judge
from proto import codec
from proto.model import (
    Disposition,
    Entity,
    Finding,
    Login,
    Observation,
    ObservationKind,
    Precision,
    Role,
    Severity,
    Source,
    User,
)

TENANT, HOST = b"t" * 16, b"h" * 16


def a_login(**changes: object) -> Login:
    login = Login(
        remote_address="203.0.113.9",
        remote_port=22,
        method="password",
        outcome="failed",
        user=User(name="root"),
        service="sshd",
    )
    return structs.replace(login, **changes)


def seen(login: Login, kind: ObservationKind = ObservationKind.LOGIN) -> Observation:
    return Observation(
        kind=kind,
        source=Source("authlog", "inotify", "logged logins"),
        event_time=10,
        event_precision=Precision.SECOND,
        observed_at=20,
        subject=Entity(Role.ACTOR, login),
    )


def judged(login: Login) -> Finding:
    (finding,) = judge(seen(login), TENANT, HOST)
    return finding


def test_a_failed_login_is_a_low_signal_of_guessing() -> None:
    finding = judged(a_login())

    assert finding.severity is Severity.LOW
    assert finding.disposition is Disposition.SIGNAL
    assert [(a.version, a.technique, a.tactic) for a in finding.attack] == [
        ("18.1", "T1110", "credential-access")
    ]
    assert finding.login == a_login()
    assert (finding.event_time, finding.observed_at) == (10, 20)
    assert finding.source.sensor == "authlog"
    codec.encode_record(finding)


def test_an_accepted_login_from_elsewhere_is_an_informational_signal() -> None:
    finding = judged(a_login(outcome="accepted"))

    assert finding.severity is Severity.INFORMATIONAL
    assert finding.disposition is Disposition.SIGNAL
    assert finding.attack[0].technique == "T1078"


def test_a_local_failure_counts_and_a_local_session_does_not() -> None:
    local = a_login(service="su", remote_address=None, remote_port=None)

    assert judged(local).title == "Failed login"
    assert judge(seen(structs.replace(local, outcome="accepted")), TENANT, HOST) == ()


def test_a_remote_side_that_could_not_be_read_is_still_remote() -> None:
    login = a_login(outcome="accepted", remote_address=UNSET, remote_port=UNSET)

    assert judged(login).title == "Accepted remote login"


def test_other_observations_and_outcomes_are_no_finding() -> None:
    assert judge(seen(a_login(), ObservationKind.LOG_LINE), TENANT, HOST) == ()
    assert judge(seen(a_login(outcome="other")), TENANT, HOST) == ()
    assert judge(seen(a_login(outcome=UNSET)), TENANT, HOST) == ()
    other = Observation(
        kind=ObservationKind.LOGIN,
        source=Source("x", "x", "x"),
        event_time=1,
        event_precision=Precision.EXACT,
        observed_at=1,
        subject=Entity(Role.ACTOR, User(name="x")),
    )
    assert judge(other, TENANT, HOST) == ()


def test_the_key_is_the_same_for_repeats_and_another_for_everything_else() -> None:
    logins = [
        a_login(),
        a_login(user=User(name="bob")),
        a_login(remote_address="203.0.113.10"),
        a_login(service="vsftpd"),
        a_login(outcome="accepted"),
        a_login(user=None),
        a_login(service="sshd11:203.0.113.9", remote_address=None),
    ]

    keys = {judged(login).key for login in logins}

    assert len(keys) == len(logins)
    assert judged(a_login(remote_port=1, method="none")).key == judged(a_login()).key
    assert judge(seen(a_login()), TENANT, b"o" * 16)[0].key != judged(a_login()).key


@pytest.mark.parametrize("name", ["%s", "{title}", "<script>", "Failed login\n", "x" * 256])
def test_host_text_never_reaches_the_title(name: str) -> None:
    finding = judged(a_login(user=User(name=name)))

    assert finding.title == "Failed login"
    assert name not in (finding.rule.id, finding.rule.name)


def test_every_technique_is_one_of_the_attack_version_with_that_tactic() -> None:
    data = Path(os.environ.get("VEDETTE_TEST_DATA", Path(__file__).parents[5] / "shared/data"))
    table = data / "attack/enterprise-techniques.tsv"
    if not table.exists():
        pytest.skip("the shared test data is not here")
    rows = [line.split("\t") for line in table.read_text("utf-8").splitlines()[1:]]
    tactics = {row[0]: row[2].split(",") for row in rows}

    assert ATTACK_VERSION == "18.1"
    for rule in LOGIN_RULES.values():
        assert rule.attack.tactic in tactics[rule.attack.technique]
