import pytest
from hypothesis import given

from agent.sense.match.sigma import RuleEngine
from agent.sense.match.sigmaevent import FieldValue, SigmaEvent
from agent.sense.match.sigmafields import COLLECTED, event_of
from proto.content.rules import RuleSource
from proto.model import (
    DnsMessage,
    Endpoint,
    File,
    LogLine,
    Observation,
    ObservationKind,
    Package,
    Thing,
    User,
)
from tests.collector.content.rulesources import a_rule, compiled
from tests.proto.builders import a_process, an_observation, values_of

PROGRAMS = ("sshd", "sudo", "cron", "clamd", "vsftpd", "guacd")
ASKED = frozenset({"Image", "CommandLine", "ParentImage", "User", "Company", "QueryName"})


def event(observation: Observation) -> SigmaEvent:
    found = event_of(observation, ASKED)
    assert found is not None
    return found


def an_exec(**changes: object) -> Observation:
    process = a_process(exe="/bin/sh", argv=("sh", "-c", "id"), user=User(0, "root"), cwd="/tmp")
    changed = {"kind": ObservationKind.PROCESS_EXEC, "ancestry": (), **changes}
    return an_observation(process, **changed)


def test_a_process_is_process_creation() -> None:
    found = event(an_exec(ancestry=(a_process(exe="/usr/sbin/sshd", argv=("sshd:", "a")),)))

    assert found.sources == (RuleSource("linux", "process_creation"),)
    wanted: dict[str, FieldValue] = {
        "Image": "/bin/sh",
        "CommandLine": "sh -c id",
        "User": "root",
        "CurrentDirectory": "/tmp",
        "ParentImage": "/usr/sbin/sshd",
        "ParentCommandLine": "sshd: a",
    }
    assert wanted.items() <= found.fields.items()


def test_what_was_not_collected_is_unknown_and_what_is_not_there_is_null() -> None:
    found = event(an_exec())

    assert found.unknown == {"ParentImage", "Company", "QueryName"}
    nameless = event(an_observation(a_process(exe=None), kind=ObservationKind.PROCESS_EXEC))
    assert nameless.fields["Image"] is None
    assert "Image" not in nameless.unknown


@pytest.mark.parametrize(
    ("kind", "thing", "source", "fields"),
    [
        (
            ObservationKind.SOCKET_OPEN,
            Endpoint("tcp6", "192.0.2.1", 5000, "198.51.100.7", 443),
            RuleSource("linux", "network_connection"),
            {"DestinationIp": "198.51.100.7", "DestinationPort": 443, "Protocol": "tcp"},
        ),
        (
            ObservationKind.FILE_CREATED,
            File("/etc/cron.d/x"),
            RuleSource("linux", "file_event"),
            {"TargetFilename": "/etc/cron.d/x"},
        ),
        (
            ObservationKind.FILE_REMOVED,
            File("/var/log/x"),
            RuleSource("linux", "file_delete"),
            {"TargetFilename": "/var/log/x"},
        ),
        (
            ObservationKind.DNS_ANSWER,
            DnsMessage("a.example", "A", "NOERROR", ("192.0.2.1",)),
            RuleSource("linux", "dns_query"),
            {"QueryName": "a.example", "QueryResults": ["192.0.2.1"]},
        ),
        (
            ObservationKind.LOG_LINE,
            LogLine("/var/log/auth.log", "sshd", "Bad protocol", 0),
            RuleSource("linux", "", "sshd"),
            {"message": "Bad protocol"},
        ),
    ],
)
def test_each_kind_has_its_source_and_fields(
    kind: ObservationKind, thing: object, source: RuleSource, fields: dict[str, FieldValue]
) -> None:
    found = event(an_observation(thing, kind=kind))  # type: ignore[arg-type]

    assert source in found.sources
    assert fields.items() <= found.fields.items()


def test_what_is_said_to_be_collected_is_what_events_have() -> None:
    whole = a_process(
        exe="/bin/sh",
        argv=("sh",),
        cwd="/",
        ppid=1,
        session=1,
        sha256=bytes(32),
        user=User(0, "root"),
    )
    things: list[tuple[ObservationKind, Thing]] = [
        (ObservationKind.PROCESS_EXEC, whole),
        (ObservationKind.SOCKET_OPEN, Endpoint("tcp", "192.0.2.1", 1, "198.51.100.7", 443)),
        (ObservationKind.FILE_CHANGED, File("/x")),
        (ObservationKind.FILE_REMOVED, File("/x")),
        (ObservationKind.DNS_ANSWER, DnsMessage("a.example", "A", "NOERROR")),
        *((ObservationKind.LOG_LINE, LogLine("/x", name, "", 0)) for name in PROGRAMS),
    ]

    events = [
        event(an_observation(thing, kind=kind, process=whole, ancestry=(whole,)))
        for kind, thing in things
    ]

    had = {source: set(one.fields) for one in events for source in one.sources}
    assert {source: set(fields) for source, fields in COLLECTED} == had


def test_what_no_rule_could_be_about_is_no_event() -> None:
    package = Package("deb", "bash", "5.2")

    assert event_of(an_observation(package, kind=ObservationKind.PACKAGE_SEEN), ASKED) is None
    assert event_of(an_observation(a_process(), kind=ObservationKind.PROCESS_EXIT), ASKED) is None


def test_a_rule_that_excludes_a_parent_is_silent_where_no_parent_was_seen() -> None:
    rule = a_rule(
        "  sel:\n    Image|endswith: /sh\n  not_from:\n    ParentImage: /usr/sbin/cron",
        "sel and not not_from",
    )
    engine = RuleEngine(compiled(rule).rules)

    def matches(observation: Observation) -> int:
        found = event_of(observation, engine.fields)
        return len(engine.match(found)) if found is not None else 0

    assert matches(an_exec()) == 0
    assert matches(an_exec(ancestry=(a_process(exe="/usr/sbin/sshd"),))) == 1
    assert matches(an_exec(ancestry=(a_process(exe="/usr/sbin/cron"),))) == 0


@given(values_of(Observation))
def test_any_observation_is_an_event_or_none(observation: Observation) -> None:
    found = event_of(observation, ASKED)

    assert found is None or found.unknown.isdisjoint(found.fields)
