"""Events that others recorded, as events of rules: ECS, Sysmon and Windows, auditd, raw. Pure.

Each reader takes one decoded line. Names of its own are kept beside those that rules use, so that a
rule written for them works as well; what a record does not have is null, not unknown: nobody can
tell what was not collected elsewhere.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from agent.sense.match import sigmaauditd, sigmanames
from agent.sense.match.sigmaevent import (
    FIELDS_MAX,
    TEXT_CHARS_MAX,
    VALUES_MAX,
    FieldValue,
    Scalar,
    SigmaEvent,
)
from proto.content.rules import RuleSource

FORMATS: Final = ("ecs", "sysmon", "auditd", "raw")
_DEPTH_MAX: Final = 12

Record = Mapping[str, Any]
Fields = dict[str, FieldValue]


def event_of(name: str, line: object) -> SigmaEvent:
    """Return a decoded line as an event.

    Args:
        name: one of `FORMATS`.
        line: whatever JSON holds, untrusted; a text is a line of a log.
    """
    record = line if isinstance(line, Mapping) else {"message": "" if line is None else str(line)}
    return _READERS[name](record)


def flat(record: Record) -> Fields:
    """Return a record with dotted names for what is nested, cut to the limits of an event."""
    found: Fields = {}
    open_: list[tuple[str, Any, int]] = [("", record, 0)]
    while open_ and len(found) < FIELDS_MAX:
        prefix, value, depth = open_.pop()
        if isinstance(value, Mapping) and depth < _DEPTH_MAX:
            below = [
                (f"{prefix}.{name}" if prefix else str(name), item, depth + 1)
                for name, item in list(value.items())[:FIELDS_MAX]
            ]
            open_ += reversed(below)
        elif prefix:
            found[prefix] = _value(value)
    return found


def _value(value: object) -> FieldValue:
    if isinstance(value, list | tuple):
        return [_scalar(item) for item in value[:VALUES_MAX]]
    return _scalar(value)


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:TEXT_CHARS_MAX]


# ------------------------------------------------------------------------------------------- raw


def _raw(record: Record) -> SigmaEvent:
    """Read fields that have the names of rules; ``logsource`` says whose they are, if anything."""
    given = record.get("logsource")
    fields = flat({name: value for name, value in record.items() if name != "logsource"})
    if not isinstance(given, Mapping):
        return SigmaEvent((), fields)
    words = [given.get(name) for name in ("product", "category", "service")]
    product, category, service = (word if isinstance(word, str) else "" for word in words)
    return SigmaEvent((RuleSource(product, category, service),), fields)


# ------------------------------------------------------------------------------------------- ECS


def _ecs(record: Record) -> SigmaEvent:
    fields = flat(record)
    event_data = {
        name.removeprefix("winlog.event_data."): value
        for name, value in fields.items()
        if name.startswith("winlog.event_data.")
    }
    for ours, theirs in sigmanames.ECS.items():
        value = fields.get(theirs)
        if value is not None:
            fields.setdefault(ours, value)
    fields |= {name: value for name, value in event_data.items() if name not in fields}
    if "CommandLine" not in fields and isinstance(args := fields.get("process.args"), list):
        fields["CommandLine"] = " ".join(map(str, args))
    hashes = [
        f"{kind.upper()}={fields[f'process.hash.{kind}']}"
        for kind in ("md5", "sha1", "sha256", "imphash")
        if isinstance(fields.get(f"process.hash.{kind}"), str)
    ]
    if hashes:
        fields.setdefault("Hashes", ",".join(hashes))
    return SigmaEvent(_ecs_sources(fields), fields)


def _ecs_sources(fields: Fields) -> tuple[RuleSource, ...]:
    product = _word(fields, "host.os.type") or _word(fields, "host.os.family")
    if product in sigmanames.LINUX_FAMILIES:
        product = "linux"
    if not product:
        product = "windows" if "winlog.channel" in fields else ""
    sources = [
        RuleSource(product, category)
        for word in _words(fields, "event.category")
        for category in sigmanames.ecs_categories(word, _words(fields, "event.type"))
    ]
    service = _word(fields, "event.dataset").partition(".")[0] or _word(fields, "event.module")
    program = _word(fields, "process.name")
    channel = sigmanames.SERVICES.get(_word(fields, "winlog.channel"), "")
    sources += [RuleSource(product, "", name) for name in (channel, service, program) if name]
    return tuple(dict.fromkeys(sources)) or (RuleSource(product),)


def _words(fields: Fields, name: str) -> list[str]:
    value = fields.get(name)
    items = value if isinstance(value, list) else [value]
    return [item.lower() for item in items if isinstance(item, str)]


def _word(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    return value.lower() if isinstance(value, str) else ""


# --------------------------------------------------------------------------- Sysmon and Windows


def _sysmon(record: Record) -> SigmaEvent:
    fields = _windows_fields(record)
    channel, provider = _word(fields, "Channel"), _word(fields, "Provider_Name")
    number = sigmanames.number(fields.get("EventID"))
    is_sysmon = "sysmon" in channel + provider or (not channel and number in sigmanames.SYSMON)
    product = "linux" if "linux-sysmon" in channel + provider else "windows"
    service = "sysmon" if is_sysmon else sigmanames.SERVICES.get(channel, "")
    categories = sigmanames.SYSMON.get(number, ()) if is_sysmon else ()
    if not is_sysmon:
        categories = sigmanames.WINDOWS.get((service, number), ())
        for ours, theirs in sigmanames.SECURITY.get(number, {}).items():
            if fields.get(theirs) is not None:
                fields.setdefault(ours, fields[theirs])
    sources = [RuleSource(product, category, service) for category in categories]
    return SigmaEvent(tuple(sources) or (RuleSource(product, "", service),), fields)


def _windows_fields(record: Record) -> Fields:
    """Return the fields of an event in any of the shapes that tools write."""
    event = record.get("Event")
    if isinstance(event, Mapping):
        return {**_system(event.get("System")), **_data(event)}
    winlog = record.get("winlog")
    if isinstance(winlog, Mapping):
        fields = _data({"EventData": winlog.get("event_data")})
        fields.setdefault("EventID", _value(winlog.get("event_id")))
        fields.setdefault("Channel", _value(winlog.get("channel")))
        fields.setdefault("Provider_Name", _value(winlog.get("provider_name")))
        return fields
    fields = flat(record)
    for name in ("SourceName", "Provider"):
        if name in fields:
            fields.setdefault("Provider_Name", fields[name])
    return fields


def _system(system: object) -> Fields:
    if not isinstance(system, Mapping):
        return {}
    fields = flat({name: value for name, value in system.items() if not isinstance(value, Mapping)})
    number = system.get("EventID")
    if isinstance(number, Mapping):
        number = number.get("#text")
    fields["EventID"] = _value(number)
    provider = system.get("Provider")
    if isinstance(provider, Mapping):
        named = flat(provider)
        fields["Provider_Name"] = next(
            (value for name, value in named.items() if name.endswith("Name")), None
        )
    return fields


def _data(event: Record) -> Fields:
    for name in ("EventData", "UserData"):
        data = event.get(name)
        if isinstance(data, Mapping) and isinstance(data.get("Data"), list):
            pairs = [item for item in data["Data"] if isinstance(item, Mapping)]
            return {
                str(pair.get("@Name", pair.get("Name", "Data"))): _value(
                    pair.get("#text", pair.get("content"))
                )
                for pair in pairs[:FIELDS_MAX]
            }
        if isinstance(data, Mapping):
            return flat(data)
    return {}


# ---------------------------------------------------------------------------------------- auditd


def _auditd(record: Record) -> SigmaEvent:
    fields = flat(record)
    line = fields.get("message", fields.get("raw"))
    if "type" not in fields and isinstance(line, str):
        fields |= sigmaauditd.fields_of(line)
    derived, categories = sigmaauditd.derived(fields)
    for name, value in derived.items():
        fields.setdefault(name, value)
    sources = [RuleSource("linux", "", "auditd")]
    sources += [RuleSource("linux", category) for category in categories]
    return SigmaEvent(tuple(sources), fields)


_READERS: Final[Mapping[str, Callable[[Record], SigmaEvent]]] = {
    "ecs": _ecs,
    "sysmon": _sysmon,
    "auditd": _auditd,
    "raw": _raw,
}
