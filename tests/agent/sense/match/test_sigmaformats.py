import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.match.sigma import RuleEngine
from agent.sense.match.sigmaevent import FIELDS_MAX, SigmaEvent
from agent.sense.match.sigmaformats import FORMATS, event_of, flat
from proto.content.rules import RuleSource
from tests.collector.content.rulesources import own

PROCESS = RuleSource("linux", "process_creation")
WORDS = [
    *("Event", "EventData", "Data", "System", "EventID", "Provider", "winlog", "event_data"),
    *("logsource", "message", "type", "event.category", "host", "a0", "@Name", "#text", "product"),
]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(
            st.sampled_from(WORDS),
            below,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


def test_a_raw_event_has_the_names_of_rules_and_may_say_its_source() -> None:
    told = {"logsource": {"product": "linux", "category": "process_creation"}, "Image": "/bin/sh"}

    assert event_of("raw", told) == SigmaEvent((PROCESS,), {"Image": "/bin/sh"})
    assert event_of("raw", {"Image": "/bin/sh"}).sources == ()
    assert event_of("raw", "a line").fields == {"message": "a line"}


def test_ecs_is_read_nested_and_dotted() -> None:
    nested = {
        "event": {"category": ["process"], "type": ["start"]},
        "host": {"os": {"type": "linux"}},
        "process": {
            "executable": "/bin/sh",
            "args": ["sh", "-c", "id"],
            "parent": {"executable": "/usr/sbin/nginx"},
            "hash": {"sha256": "ab"},
        },
        "user": {"name": "www-data"},
    }
    dotted = {"event.category": "process", "host.os.type": "linux", "process.executable": "/bin/sh"}

    found = event_of("ecs", nested)

    assert PROCESS in found.sources
    assert PROCESS in event_of("ecs", dotted).sources
    wanted = {
        "Image": "/bin/sh",
        "CommandLine": "sh -c id",
        "ParentImage": "/usr/sbin/nginx",
        "User": "www-data",
        "Hashes": "SHA256=ab",
        "process.executable": "/bin/sh",
    }
    assert wanted.items() <= found.fields.items()


@pytest.mark.parametrize(
    "event",
    [
        {
            "Event": {
                "System": {
                    "EventID": 1,
                    "Channel": "Linux-Sysmon/Operational",
                    "Provider": {"#attributes": {"Name": "Linux-Sysmon"}},
                },
                "EventData": {"Image": "/bin/sh", "User": "root"},
            }
        },
        {
            "Event": {
                "System": {"EventID": {"#text": "1"}, "Provider": {"@Name": "Linux-Sysmon"}},
                "EventData": {
                    "Data": [
                        {"@Name": "Image", "#text": "/bin/sh"},
                        {"@Name": "User", "#text": "root"},
                    ]
                },
            }
        },
        {
            "winlog": {
                "event_id": "1",
                "provider_name": "Linux-Sysmon",
                "event_data": {"Image": "/bin/sh", "User": "root"},
            }
        },
        {"EventID": 1, "SourceName": "Linux-Sysmon", "Image": "/bin/sh", "User": "root"},
    ],
)
def test_sysmon_is_read_in_the_shapes_that_tools_write(event: object) -> None:
    found = event_of("sysmon", event)

    assert found.sources == (RuleSource("linux", "process_creation", "sysmon"),)
    assert found.fields["Image"] == "/bin/sh"
    assert found.fields["User"] == "root"


def test_sysmon_of_windows_and_other_channels_have_their_sources() -> None:
    bare = event_of("sysmon", {"EventID": 13, "TargetObject": "HKLM"})
    created = event_of(
        "sysmon", {"EventID": 4688, "Channel": "Security", "NewProcessName": "C:\\a"}
    )
    cleared = event_of("sysmon", {"EventID": 1102, "Channel": "Security"})

    assert RuleSource("windows", "registry_set", "sysmon") in bare.sources
    assert created.sources == (RuleSource("windows", "process_creation", "security"),)
    assert created.fields["Image"] == created.fields["NewProcessName"] == "C:\\a"
    assert cleared.sources == (RuleSource("windows", "", "security"),)


def test_auditd_is_read_as_fields_and_as_a_line() -> None:
    fields = {"type": "EXECVE", "argc": 2, "a0": "chmod", "a1": "777"}
    line = 'type=EXECVE msg=audit(1.2:3): argc=2 a0="chmod" a1="777"'

    for told in (fields, line, {"message": line}):
        found = event_of("auditd", told)
        assert found.sources == (RuleSource("linux", "", "auditd"), PROCESS)
        assert found.fields["CommandLine"] == "chmod 777"
        assert found.fields["a1"] == "777"


def test_what_is_nested_is_cut_to_the_limits_of_an_event() -> None:
    assert len(flat({str(at): at for at in range(2 * FIELDS_MAX)})) <= FIELDS_MAX
    deep: dict[str, object] = {"x": 1}
    for _ in range(100):
        deep = {"x": deep}
    assert len(flat(deep)) == 1


@given(st.sampled_from(FORMATS), JSON)
def test_whatever_json_holds_is_an_event_that_can_be_judged(name: str, line: object) -> None:
    ENGINE.match(event_of(name, line))


ENGINE = RuleEngine(own().rules)
