"""Logins become signals with technique, origin and a key that names who tried what from where."""

import os
from pathlib import Path

import pytest
from msgspec import UNSET, structs

from agent.sense.match.logins import ATTACK_VERSION, RULES, judge
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
    for rule in RULES:
        assert all(attack.tactic in tactics[attack.technique] for attack in rule.attack)


def judged_as(kind: ObservationKind, login: Login) -> Finding:
    (finding,) = judge(seen(login, kind), TENANT, HOST)
    codec.encode_record(finding)
    return finding


def a_burst(attempts: int, accounts: int, outcome: str = "failed") -> Login:
    return Login(
        remote_address="203.0.113.9", outcome=outcome, attempts=attempts, accounts=accounts
    )


@pytest.mark.parametrize(
    ("attempts", "accounts", "technique"),
    [
        (10, 1, "T1110.001"),
        (10, 4, "T1110.001"),
        (100, 5, "T1110.001"),
        (10, 5, "T1110.003"),
        (10, 10, "T1110.003"),
        (5000, 33, "T1110.003"),
    ],
)
def test_brute_force_is_an_alert_and_named_by_its_shape(
    attempts: int, accounts: int, technique: str
) -> None:
    finding = judged_as(ObservationKind.LOGIN_BURST, a_burst(attempts, accounts))

    assert [attack.technique for attack in finding.attack] == [technique]
    assert (finding.severity, finding.disposition) == (Severity.MEDIUM, Disposition.ALERT)
    assert finding.count == attempts


def test_a_success_after_brute_force_is_grave() -> None:
    finding = judged_as(ObservationKind.LOGIN_BURST, a_burst(12, 1, "accepted"))

    assert (finding.severity, finding.disposition) == (Severity.HIGH, Disposition.ALERT)
    assert [attack.technique for attack in finding.attack] == ["T1110", "T1078"]


def test_a_first_key_and_a_first_use_of_sudo_are_low_alerts() -> None:
    key = a_login(outcome="accepted", method="publickey", fingerprint="SHA256:x")
    sudoer = a_login(outcome="accepted", method="sudo", service="sudo", remote_address=UNSET)

    first_key = judged_as(ObservationKind.LOGIN_NEW_KEY, key)
    first_sudo = judged_as(ObservationKind.LOGIN_NEW_SUDOER, sudoer)

    assert [a.technique for a in first_key.attack] == ["T1098.004", "T1078"]
    assert [a.technique for a in first_sudo.attack] == ["T1548.003"]
    assert {f.severity for f in (first_key, first_sudo)} == {Severity.LOW}
    assert {f.disposition for f in (first_key, first_sudo)} == {Disposition.ALERT}


def test_a_key_is_one_thing_wherever_it_comes_from_and_another_for_another_user() -> None:
    kind = ObservationKind.LOGIN_NEW_KEY
    key = a_login(outcome="accepted", fingerprint="SHA256:x")
    same = structs.replace(key, remote_address="203.0.113.10")
    others = [
        structs.replace(key, user=User(name="bob")),
        structs.replace(key, fingerprint="SHA256:y"),
    ]

    keys = {judged_as(kind, login).key for login in (key, *others)}

    assert len(keys) == 3
    assert judged_as(kind, same).key == judged_as(kind, key).key


def test_a_burst_that_goes_on_is_the_same_thing() -> None:
    kind = ObservationKind.LOGIN_BURST

    assert judged_as(kind, a_burst(10, 1)).key == judged_as(kind, a_burst(900, 1)).key
    assert judge(seen(User(name="x"), kind), TENANT, HOST) == ()  # type: ignore[arg-type]
