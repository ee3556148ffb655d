"""Our observations as events of rules: which fields they have there, and which nobody collected.

    process seen or run    process_creation
    connection             network_connection
    file                   file_event, file_delete
    DNS                    dns_query
    line of a log          the service of the program that wrote it

A field that no line below fills, or whose value was not collected, is unknown: not null.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import UNSET, UnsetType

from agent.sense.match.sigmaevent import FieldValue, SigmaEvent
from proto.content.rules import RuleSource
from proto.model import (
    DnsMessage,
    Endpoint,
    File,
    LogLine,
    Observation,
    ObservationKind,
    Process,
    User,
)

LINUX: Final = "linux"
_PROCESS: Final = (RuleSource(LINUX, "process_creation"),)
_NETWORK: Final = (RuleSource(LINUX, "network_connection"),)
_DNS: Final = (RuleSource(LINUX, "dns_query"),)
_SOURCES: Final[Mapping[ObservationKind, tuple[RuleSource, ...]]] = {
    ObservationKind.PROCESS_EXEC: _PROCESS,
    ObservationKind.PROCESS_SEEN: _PROCESS,
    ObservationKind.SOCKET_OPEN: _NETWORK,
    ObservationKind.FILE_CREATED: (RuleSource(LINUX, "file_event"),),
    ObservationKind.FILE_CHANGED: (
        RuleSource(LINUX, "file_event"),
        RuleSource(LINUX, "file_change"),
    ),
    ObservationKind.FILE_REMOVED: (RuleSource(LINUX, "file_delete"),),
    ObservationKind.DNS_QUERY: _DNS,
    ObservationKind.DNS_ANSWER: _DNS,
}

# Programs that rules call by the name of a service, beside the log that all of them write to.
_SERVICES: Final = {
    "sshd": ("sshd", "auth"),
    "sshd-session": ("sshd", "auth"),
    "sudo": ("sudo", "auth"),
    "su": ("auth",),
    "login": ("auth",),
    "systemd-logind": ("auth",),
    "cron": ("cron",),
    "crond": ("cron",),
    "clamd": ("clamav",),
    "freshclam": ("clamav",),
    "vsftpd": ("vsftpd",),
    "guacd": ("guacamole",),
}

_ACTOR: Final = frozenset({"Image", "ProcessId", "User", "CommandLine"})
_FILE: Final = _ACTOR | {"TargetFilename"}
_LINE: Final = frozenset({"message", "program"})

# The fields that events of a source have where sensors are on their highest rung.
COLLECTED: Final[tuple[tuple[RuleSource, frozenset[str]], ...]] = (
    (
        _PROCESS[0],
        _ACTOR
        | {"CurrentDirectory", "ParentProcessId", "LogonId", "sha256", "Hashes"}
        | {"ParentImage", "ParentCommandLine", "ParentUser"},
    ),
    (
        _NETWORK[0],
        _ACTOR | {"Protocol", "SourceIp", "SourcePort", "DestinationIp", "DestinationPort"},
    ),
    (RuleSource(LINUX, "file_event"), _FILE),
    (RuleSource(LINUX, "file_change"), _FILE),
    (RuleSource(LINUX, "file_delete"), _FILE),
    (_DNS[0], _ACTOR | {"QueryName", "record_type", "QueryStatus", "QueryResults"}),
    *(
        (RuleSource(LINUX, "", service), _LINE)
        for service in sorted({"syslog", *(one for many in _SERVICES.values() for one in many)})
    ),
)

Value = FieldValue | UnsetType
_Known = dict[str, Value]


def event_of(observation: Observation, asked: frozenset[str]) -> SigmaEvent | None:
    """Return an observation as an event, or None where no rule could be about it.

    Args:
        observation: what a sensor saw.
        asked: the fields that rules ask; what of them it does not have is unknown.
    """
    thing = observation.subject.value
    fill = _FILLS.get(type(thing))
    sources = _SOURCES.get(observation.kind, ())
    if isinstance(thing, LogLine):
        services = _SERVICES.get(thing.program, (thing.program,))
        sources = tuple(RuleSource(LINUX, "", service) for service in (*services, "syslog"))
    if fill is None or not sources:
        return None
    filled = fill(thing, observation)
    fields: dict[str, FieldValue] = {
        name: value for name, value in filled.items() if not isinstance(value, UnsetType)
    }
    return SigmaEvent(sources, fields, asked.difference(fields))


def _process(thing: object, observation: Observation) -> _Known:
    return {**_of_process(thing), **_of_parent(observation)} if isinstance(thing, Process) else {}


def _of_process(process: Process) -> _Known:
    digest = process.sha256
    sha256: Value = digest.hex() if isinstance(digest, bytes) else digest
    known: _Known = {
        "Image": process.exe,
        "CommandLine": " ".join(process.argv) if process.argv else UNSET,
        "CurrentDirectory": process.cwd,
        "User": _name(process.user),
        "ProcessId": process.pid,
        "ParentProcessId": process.ppid,
        "LogonId": process.session,
        "sha256": sha256,
        "Hashes": f"SHA256={sha256.upper()}" if isinstance(sha256, str) else sha256,
    }
    return known


def _of_parent(observation: Observation) -> _Known:
    """Return what is known of the parent: nothing at all where no ancestry was collected."""
    if not observation.ancestry:
        return {}
    parent = observation.ancestry[0]
    return {
        "ParentImage": parent.exe,
        "ParentCommandLine": " ".join(parent.argv) if parent.argv else UNSET,
        "ParentUser": _name(parent.user),
    }


def _name(user: User | UnsetType | None) -> Value:
    return user.name if isinstance(user, User) else user


def _actor(observation: Observation) -> _Known:
    process = observation.process
    if process is None:
        return {}
    return {
        "Image": process.exe,
        "ProcessId": process.pid,
        "User": _name(process.user),
        "CommandLine": " ".join(process.argv) if process.argv else UNSET,
    }


def _connection(thing: object, observation: Observation) -> _Known:
    if not isinstance(thing, Endpoint):
        return {}
    return {
        **_actor(observation),
        "Protocol": thing.protocol.rstrip("6"),
        "SourceIp": thing.local_address,
        "SourcePort": thing.local_port,
        "DestinationIp": thing.remote_address,
        "DestinationPort": thing.remote_port,
    }


def _file(thing: object, observation: Observation) -> _Known:
    if not isinstance(thing, File):
        return {}
    return {**_actor(observation), "TargetFilename": thing.path}


def _name_asked(thing: object, observation: Observation) -> _Known:
    if not isinstance(thing, DnsMessage):
        return {}
    known: _Known = {**_actor(observation), "QueryName": thing.name, "record_type": thing.qtype}
    if observation.kind is ObservationKind.DNS_ANSWER:
        known |= {"QueryStatus": thing.code, "QueryResults": list(thing.answers)}
    return known


def _line(thing: object, _: Observation) -> _Known:
    return (
        {"message": thing.message, "program": thing.program} if isinstance(thing, LogLine) else {}
    )


_FILLS: Final[Mapping[type, Callable[[object, Observation], _Known]]] = {
    Process: _process,
    Endpoint: _connection,
    File: _file,
    DnsMessage: _name_asked,
    LogLine: _line,
}
