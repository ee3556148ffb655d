"""New entries are findings; what stood is inventory unless it is bad by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, structs

from agent.sense import mechanisms as ways
from agent.sense.match.persistence import judge, subject_of
from agent.sense.match.persistencerules import NEW_RULES
from proto import codec
from proto.model import (
    Activity,
    Disposition,
    Entity,
    Finding,
    Login,
    Observation,
    ObservationKind,
    Persistence,
    Precision,
    Role,
    Severity,
    Source,
    User,
)

TENANT, HOST = b"t" * 16, b"h" * 16
SEEN, ADDED = ObservationKind.PERSISTENCE_SEEN, ObservationKind.PERSISTENCE_ADDED
CHANGED, REMOVED = ObservationKind.PERSISTENCE_CHANGED, ObservationKind.PERSISTENCE_REMOVED


def an_entry(mechanism: str = ways.CRON_JOB, value: str = "run", **changes: object) -> Persistence:
    return structs.replace(Persistence(mechanism, "@daily", "/etc/crontab", value), **changes)


def seen(item: Persistence, kind: ObservationKind = ADDED) -> Observation:
    return Observation(
        kind=kind,
        source=Source("persistence", "inotify+stat", "entries"),
        event_time=10,
        event_precision=Precision.POLL,
        observed_at=20,
        subject=Entity(Role.TARGET, item),
    )


def judged(item: Persistence, kind: ObservationKind = ADDED) -> Finding:
    (finding,) = judge(seen(item, kind), TENANT, HOST)
    codec.encode_record(finding)
    return finding


def test_a_new_job_is_a_medium_alert_with_its_technique() -> None:
    finding = judged(an_entry())

    assert (finding.severity, finding.disposition) == (Severity.MEDIUM, Disposition.ALERT)
    assert (finding.activity, finding.attack[0].technique) == (Activity.CREATE, "T1053.003")
    assert finding.entities[0].value == an_entry()
    assert "run" not in finding.title


@pytest.mark.parametrize("mechanism", sorted(NEW_RULES))
def test_what_stood_is_no_finding_unless_it_is_bad_by_itself(mechanism: str) -> None:
    bad = {ways.LD_PRELOAD, ways.WRITABLE}

    assert bool(judge(seen(an_entry(mechanism), SEEN), TENANT, HOST)) == (mechanism in bad)
    assert bool(judge(seen(an_entry(mechanism), REMOVED), TENANT, HOST)) == (mechanism in bad)


def test_what_is_bad_by_itself_opens_once_and_closes_when_it_goes() -> None:
    toor = an_entry(ways.USER, user=User(uid=0, name="toor"), name="toor")
    stood = judged(toor, ObservationKind.ACCOUNT_SEEN)
    came = judged(toor, ObservationKind.ACCOUNT_ADDED)
    gone = judged(toor, ObservationKind.ACCOUNT_REMOVED)

    assert stood.key == came.key == gone.key
    assert (stood.severity, came.severity) == (Severity.MEDIUM, Severity.HIGH)
    assert (stood.activity, gone.activity) == (Activity.CREATE, Activity.CLOSE)


def test_a_change_of_an_account_is_a_low_signal() -> None:
    alice = an_entry(ways.USER, user=User(uid=5, name="alice"), name="alice")

    finding = judged(alice, ObservationKind.ACCOUNT_CHANGED)

    assert (finding.severity, finding.disposition) == (Severity.LOW, Disposition.SIGNAL)
    assert judged(alice, ObservationKind.ACCOUNT_ADDED).severity is Severity.MEDIUM


@pytest.mark.parametrize(
    ("package", "caveats", "severity"),
    [
        pytest.param(UNSET, (), Severity.HIGH, id="no dpkg"),
        pytest.param(None, (), Severity.HIGH, id="in no package"),
        pytest.param("su", (), Severity.INFORMATIONAL, id="as packaged"),
        pytest.param("su", (ways.UNVERIFIED,), Severity.LOW, id="not comparable"),
        pytest.param("su", (ways.MODIFIED,), Severity.HIGH, id="modified"),
        pytest.param("su", (ways.LATER,), Severity.HIGH, id="rights given later"),
        pytest.param("su", (ways.UNVERIFIED, ways.LATER), Severity.HIGH, id="both"),
        pytest.param("su", (ways.ENABLED,), Severity.INFORMATIONAL, id="other caveat"),
    ],
)
@pytest.mark.parametrize("kind", [ADDED, CHANGED])
def test_what_a_package_brought_untouched_is_only_told(
    package: object, caveats: tuple[str, ...], severity: Severity, kind: ObservationKind
) -> None:
    su = an_entry(ways.SUID_FILE, "mode=4755 uid=0 gid=0", package=package, caveats=caveats)

    assert judged(su, kind).severity is severity


def test_another_command_is_another_thing_and_its_secrets_name_nothing() -> None:
    one, other = an_entry(value="/bin/a --key 1"), an_entry(value="/bin/b --key 1")
    secret = an_entry(value="TOKEN=x /bin/a --key 2")

    assert judged(one).key != judged(other).key
    assert subject_of(one) == subject_of(secret)


def test_another_user_path_or_name_is_another_thing() -> None:
    entries = [
        an_entry(),
        an_entry(ways.AT_JOB),
        an_entry(user=User(name="a")),
        an_entry(user=User(uid=1)),
        an_entry(path="/x"),
        an_entry(name="@hourly"),
    ]

    assert len({subject_of(entry) for entry in entries}) == len(entries)


def test_other_observations_are_not_judged() -> None:
    login = Entity(Role.ACTOR, Login())

    assert judge(structs.replace(seen(an_entry()), subject=login), TENANT, HOST) == ()
    assert judge(seen(an_entry(), ObservationKind.FILE_CREATED), TENANT, HOST) == ()
    assert judge(seen(an_entry(ways.GROUP)), TENANT, HOST) == ()


@given(
    mechanism=st.sampled_from(sorted(NEW_RULES)),
    value=st.text(max_size=80),
    name=st.text(max_size=20),
    kind=st.sampled_from(ObservationKind),
)
def test_any_entry_is_judged(mechanism: str, value: str, name: str, kind: ObservationKind) -> None:
    findings = judge(seen(an_entry(mechanism, value, name=name), kind), TENANT, HOST)

    assert len(findings) <= 1
