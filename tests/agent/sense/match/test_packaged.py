"""A packaged program that differs is a finding that opens, is renewed and closes."""

import pytest
from msgspec import UNSET, structs

from agent.sense.match.packaged import LIKE_AGAIN, STILL_UNLIKE, UNLIKE, is_program, judge
from proto import codec
from proto.model import (
    Activity,
    Disposition,
    Entity,
    File,
    Finding,
    FindingKind,
    Observation,
    ObservationKind,
    Precision,
    Process,
    Role,
    Severity,
    Source,
    User,
)

TENANT, HOST = b"t" * 16, b"h" * 16
LS = File(path="/usr/bin/ls", mode=0o100755, package="coreutils", caveats=(UNLIKE,))


def seen(file: File) -> Observation:
    return Observation(
        kind=ObservationKind.FILE_CHANGED,
        source=Source("files", "fanotify", "configured trees"),
        event_time=10,
        event_precision=Precision.EXACT,
        observed_at=20,
        subject=Entity(Role.TARGET, file),
        process=Process(boot_id=bytes(16), pid=7, start=1),
    )


def judged(file: File) -> Finding:
    (finding,) = judge(seen(file), TENANT, HOST)
    return finding


def test_a_modified_program_is_a_medium_integrity_alert_with_its_file_and_who_did_it() -> None:
    finding = judged(LS)

    assert finding.kind is FindingKind.INTEGRITY
    assert finding.severity is Severity.MEDIUM
    assert finding.disposition is Disposition.ALERT
    assert [(a.technique, a.tactic) for a in finding.attack] == [("T1554", "persistence")]
    assert finding.entities[0].value == LS
    assert finding.process is not None
    assert [(a.name, a.value) for a in finding.arguments] == [("package", "coreutils")]
    assert "ls" not in finding.title
    assert codec.encode_record(finding)


@pytest.mark.parametrize(
    ("word", "activity"),
    [(UNLIKE, Activity.CREATE), (STILL_UNLIKE, Activity.UPDATE), (LIKE_AGAIN, Activity.CLOSE)],
)
def test_each_word_of_the_sensor_is_a_turn_of_one_findings_life(
    word: str, activity: Activity
) -> None:
    finding = judged(structs.replace(LS, caveats=("changed", word)))

    assert finding.activity is activity
    assert finding.key == judged(LS).key


def test_another_path_is_another_thing_found() -> None:
    assert judged(structs.replace(LS, path="/usr/bin/cat")).key != judged(LS).key


@pytest.mark.parametrize(
    ("path", "mode", "runs"),
    [
        ("/usr/bin/ls", 0o100755, True),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", 0o100644, True),
        ("/usr/lib/libx.so", 0o100644, True),
        ("/lib/modules/6/a.ko.xz", 0o100644, True),
        ("/usr/share/doc/ls/copyright", 0o100644, False),
        ("/etc/ld.so.conf", 0o100644, False),
        ("/usr/share/x.so.txt", 0o100644, False),
        ("/usr/lib/libx.so\nx", 0o100644, False),
    ],
)
def test_only_what_runs_is_a_program(path: str, mode: int, *, runs: bool) -> None:
    file = structs.replace(LS, path=path, mode=mode)

    assert is_program(file) is runs
    assert bool(judge(seen(file), TENANT, HOST)) is runs


def test_other_files_and_other_facts_are_no_finding() -> None:
    assert judge(seen(structs.replace(LS, caveats=())), TENANT, HOST) == ()
    assert judge(seen(structs.replace(LS, caveats=("changed",))), TENANT, HOST) == ()
    other = structs.replace(seen(LS), subject=Entity(Role.TARGET, User(uid=1)))
    assert judge(other, TENANT, HOST) == ()


def test_a_file_whose_package_is_not_known_any_more_is_still_judged() -> None:
    finding = judged(structs.replace(LS, package=UNSET, mode=UNSET, path="/usr/lib/a.so.1"))

    assert finding.arguments == ()
