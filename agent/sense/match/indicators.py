"""Indicators met by what a host does: one finding for each value that is listed. Pure.

    process seen or run   its image's digest, the name and path of its image, its own names, URLs in
                          its arguments
    file seen or changed  its digest, its name, its path
    connection            the remote address, with its port
    login                 the remote address
    DNS query             the name, and every domain that it lies in
    DNS answer            these, and each address and name that came back

No observation carries MD5, SHA-1, JA3, JA4, mail addresses or mutexes: those are for
``vedette-agent match``.

Several lists may name a value, and several networks hold an address: the best of them is the
finding's indicator (one that no warninglist doubts, the most confident, the narrowest) and the
others stand in its arguments. Severity comes from one table by what was matched and how confident
the list is; a value that a warninglist calls harmless is a signal and no alert.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from agent.sense.match.context import MatchContext
from agent.sense.match.logins import ATTACK_VERSION
from agent.sense.match.urlwords import urls_in
from proto.content.index import IndicatorRow
from proto.content.kinds import IndicatorKind
from proto.model import (
    Activity,
    Argument,
    Attack,
    Disposition,
    DnsMessage,
    Endpoint,
    Entity,
    File,
    Finding,
    FindingKind,
    Indicator,
    Login,
    Observation,
    ObservationKind,
    Process,
    Role,
    Rule,
    Severity,
    User,
)
from proto.uids import finding_key

ALSO_LISTED_MAX: Final = 16
_SEPARATOR: Final = "\0"

# From this confidence on, this severity; the last line is for everything below.
Scale = tuple[tuple[int, Severity], ...]

_RUN: Final[Scale] = (
    (90, Severity.CRITICAL),
    (70, Severity.HIGH),
    (40, Severity.MEDIUM),
    (0, Severity.LOW),
)
_MET: Final[Scale] = (
    (90, Severity.HIGH),
    (70, Severity.MEDIUM),
    (40, Severity.LOW),
    (0, Severity.INFORMATIONAL),
)
_NAMED: Final[Scale] = (
    (90, Severity.MEDIUM),
    (70, Severity.LOW),
    (0, Severity.INFORMATIONAL),
)


class IndicatorRule(Struct, frozen=True):
    """What it means that an indicator of one kind was met; higher ``rank`` is more telling.

    ``attack`` is the technique where the list names none.
    """

    rule: Rule
    scale: Scale
    rank: int
    attack: str = ""


# Source: ATT&CK T1105 (Ingress Tool Transfer).
_TECHNIQUES: Final = {IndicatorKind.URL: "T1105", IndicatorKind.URL_PREFIX: "T1105"}
_BAD_URL: Final = "Program given a known bad URL"
_BAD_NAME: Final = "Request for a known bad name"
_RULES: Final = {
    IndicatorKind.SHA256: ("Known bad file", _MET, 3),
    IndicatorKind.SHA1: ("Known bad file", _MET, 3),
    IndicatorKind.MD5: ("Known bad file", _MET, 3),
    IndicatorKind.URL: (_BAD_URL, _MET, 3),
    IndicatorKind.URL_PREFIX: (_BAD_URL, _MET, 2),
    IndicatorKind.HOSTNAME: (_BAD_NAME, _MET, 2),
    IndicatorKind.DOMAIN: (_BAD_NAME, _MET, 1),
    IndicatorKind.FILE_PATH: ("File at a known bad path", _NAMED, 2),
    IndicatorKind.EMAIL: ("Known bad mail address", _NAMED, 1),
    IndicatorKind.JA3: ("Known bad TLS client", _NAMED, 1),
    IndicatorKind.JA4: ("Known bad TLS client", _NAMED, 1),
    IndicatorKind.MUTEX: ("Known bad mutex", _NAMED, 1),
    IndicatorKind.IP_PORT: ("Contact with a known bad endpoint", _MET, 3),
    IndicatorKind.IPV4: ("Contact with a known bad address", _MET, 2),
    IndicatorKind.IPV6: ("Contact with a known bad address", _MET, 2),
    IndicatorKind.CIDR: ("Contact with a known bad network", _MET, 1),
    IndicatorKind.FILE_NAME: ("File with a known bad name", _NAMED, 1),
    IndicatorKind.PROCESS_NAME: ("Process with a known bad name", _NAMED, 1),
}


def _rule(kind: IndicatorKind, title: str, scale: Scale, rank: int) -> IndicatorRule:
    rule = Rule(f"indicator.{kind.value}", title, "1")
    return IndicatorRule(rule, scale, rank, _TECHNIQUES.get(kind, ""))


INDICATOR_RULES: Final[Mapping[IndicatorKind, IndicatorRule]] = MappingProxyType(
    {kind: _rule(kind, *rest) for kind, rest in _RULES.items()}
)


# A name that leads there is less than a connection: nobody may have gone.
RESOLVED: Final = IndicatorRule(
    Rule("indicator.dns_answer", "Name that leads to a known bad address", "1"), _NAMED, 1
)


class Sighting(Struct, frozen=True):
    """A value seen on the host and what the index knows of it.

    Args:
        seen: the value as the host has it.
        subject: what it belongs to, for the finding's key.
        rows: the indicators.
        was_run: whether the file was executed, not only present.
        rule: what it means, where the kind of indicator alone does not tell.
    """

    seen: str
    subject: str
    rows: Sequence[IndicatorRow]
    was_run: bool = False
    rule: IndicatorRule | None = None


def judge(observation: Observation, context: MatchContext) -> tuple[Finding, ...]:
    """Return a finding for each listed value in an observation; mostly none.

    Raises:
        ContentDamaged: the mapped index changed under us.
    """
    look = _LOOKS.get(observation.kind)
    if look is None:
        return ()
    found = []
    for sighting in look(observation, context):
        rows = [row for row in sighting.rows if _is_valid(row, context.now)]
        if rows:
            found.append(_finding(observation, context, sighting, sorted(rows, key=_order)))
    return tuple(found)


def severity_of(
    row: IndicatorRow, *, was_run: bool = False, rule: IndicatorRule | None = None
) -> Severity:
    """Return how bad it is that an indicator was met.

    Args:
        row: the indicator.
        was_run: whether it is a file that was executed.
        rule: what it means; None for what its kind does.
    """
    provenance = row.provenance
    if provenance.warning:
        return Severity.INFORMATIONAL
    scale = _RUN if was_run else (rule or INDICATOR_RULES[row.kind]).scale
    return next(severity for least, severity in scale if provenance.confidence >= least)


def _look_at_process(observation: Observation, context: MatchContext) -> Iterator[Sighting]:
    process = observation.subject.value
    if not isinstance(process, Process):
        return
    lookup, exe = context.index.lookup, _text(process.exe)
    subject = exe or _text(process.name)
    # A program that could not be executed lies there all the same.
    was_run = observation.kind is not ObservationKind.PROCESS_EXEC_FAILED
    for sha256, path in ((process.sha256, subject), (process.script_sha256, process.script)):
        if isinstance(sha256, bytes):
            digest = sha256.hex()
            rows = lookup(IndicatorKind.SHA256, digest)
            yield Sighting(digest, _text(path) or subject, rows, was_run=was_run)
    if exe:
        yield Sighting(exe, subject, lookup(IndicatorKind.FILE_NAME, exe))
        yield Sighting(exe, subject, lookup(IndicatorKind.FILE_PATH, exe))
    if not was_run:
        return
    for url in urls_in(process.argv):
        rows = context.index.lookup_url(url)
        yield Sighting(url, subject, rows, rule=INDICATOR_RULES[IndicatorKind.URL])
    names = dict.fromkeys((_text(process.name), exe, *process.argv[:1]))
    named = {
        (row.value, row.provenance): (row, name)
        for name in names
        for row in lookup(IndicatorKind.PROCESS_NAME, name)
    }
    if named:
        seen = next(name for _, name in named.values())
        yield Sighting(seen, subject, [row for row, _ in named.values()])


def _look_at_file(observation: Observation, context: MatchContext) -> Iterator[Sighting]:
    file = observation.subject.value
    if not isinstance(file, File):
        return
    lookup = context.index.lookup
    if isinstance(file.sha256, bytes):
        digest = file.sha256.hex()
        yield Sighting(digest, file.path, lookup(IndicatorKind.SHA256, digest))
    yield Sighting(file.path, file.path, lookup(IndicatorKind.FILE_NAME, file.path))
    yield Sighting(file.path, file.path, lookup(IndicatorKind.FILE_PATH, file.path))


def _look_at_socket(observation: Observation, context: MatchContext) -> Iterator[Sighting]:
    endpoint = observation.subject.value
    if not isinstance(endpoint, Endpoint) or not (address := _text(endpoint.remote_address)):
        return
    # The port of who came to us says nothing of what listens there: endpoints do not match it.
    is_inbound = observation.subject.role is Role.ACTOR
    port = endpoint.remote_port if isinstance(endpoint.remote_port, int) else None
    subject = _program(observation)
    seen = address if port is None else f"{address} port {port}"
    yield Sighting(
        seen, subject, context.index.lookup_address(address, None if is_inbound else port)
    )


def _look_at_login(observation: Observation, context: MatchContext) -> Iterator[Sighting]:
    login = observation.subject.value
    if not isinstance(login, Login) or not (address := _text(login.remote_address)):
        return
    name = login.user.name if isinstance(login.user, User) else None
    # The port of a client says nothing of what listens there: endpoints do not match it.
    rows = context.index.lookup_address(address, None)
    yield Sighting(address, f"{_text(login.service)}{_SEPARATOR}{_text(name)}", rows)


def _look_at_query(observation: Observation, context: MatchContext) -> Iterator[Sighting]:
    message = observation.subject.value
    if isinstance(message, DnsMessage):
        subject = _program(observation) or message.name
        yield Sighting(message.name, subject, context.index.lookup_name(message.name))


def _look_at_answer(observation: Observation, context: MatchContext) -> Iterator[Sighting]:
    message = observation.subject.value
    if not isinstance(message, DnsMessage):
        return
    yield from _look_at_query(observation, context)
    subject = _program(observation) or message.name
    for answer in dict.fromkeys(message.answers):
        seen = f"{message.name} is {answer}"
        # What is no address is in no index of addresses.
        rows = context.index.lookup_address(answer, None)
        if rows:
            yield Sighting(seen, message.name, rows, rule=RESOLVED)
        elif " " not in answer and ":" not in answer:
            # Another name that this one stands for; of records of other types only text is kept.
            yield Sighting(seen, subject, context.index.lookup_name(answer))


def _program(observation: Observation) -> str:
    process = observation.process
    return _text(process.exe) or _text(process.name) if process else ""


_LOOKS: Final[
    Mapping[ObservationKind, Callable[[Observation, MatchContext], Iterable[Sighting]]]
] = MappingProxyType(
    {
        ObservationKind.PROCESS_EXEC: _look_at_process,
        ObservationKind.PROCESS_EXEC_FAILED: _look_at_process,
        ObservationKind.PROCESS_SEEN: _look_at_process,
        ObservationKind.FILE_SEEN: _look_at_file,
        ObservationKind.FILE_CREATED: _look_at_file,
        ObservationKind.FILE_CHANGED: _look_at_file,
        ObservationKind.SOCKET_OPEN: _look_at_socket,
        ObservationKind.LOGIN: _look_at_login,
        ObservationKind.DNS_QUERY: _look_at_query,
        ObservationKind.DNS_ANSWER: _look_at_answer,
    }
)


def _is_valid(row: IndicatorRow, now: int) -> bool:
    return row.provenance.expires is None or now < row.provenance.expires


def _order(row: IndicatorRow) -> tuple[bool, int, int, str, str]:
    """The best first; the rest of the order only makes it the same every time."""
    told = row.provenance
    rank = INDICATOR_RULES[row.kind].rank
    return bool(told.warning), -told.confidence, -rank, told.feed, row.value


def _finding(
    observation: Observation,
    context: MatchContext,
    sighting: Sighting,
    rows: Sequence[IndicatorRow],
) -> Finding:
    best = rows[0]
    told, meaning = best.provenance, sighting.rule or INDICATOR_RULES[best.kind]
    rule, techniques = meaning.rule, (told.attack or meaning.attack).split()
    severity = severity_of(best, was_run=sighting.was_run, rule=sighting.rule)
    subject = _SEPARATOR.join((best.value, sighting.subject))
    thing = observation.subject.value
    process = thing if isinstance(thing, Process) else observation.process
    is_signal = severity is Severity.INFORMATIONAL
    return Finding(
        kind=FindingKind.DETECTION,
        activity=Activity.CREATE,
        disposition=Disposition.SIGNAL if is_signal else Disposition.ALERT,
        severity=severity,
        confidence=told.confidence,
        title=rule.name,
        key=finding_key(context.tenant, context.host, FindingKind.DETECTION, rule.id, subject),
        rule=rule,
        source=observation.source,
        event_time=observation.event_time,
        event_precision=observation.event_precision,
        observed_at=observation.observed_at,
        indicator=_indicator(best, context),
        attack=tuple(Attack(ATTACK_VERSION, word) for word in techniques[:16]),
        entities=_entities(observation),
        process=process,
        ancestry=observation.ancestry,
        login=thing if isinstance(thing, Login) else None,
        arguments=_arguments(sighting.seen, rows[1:]),
        content=() if context.stamp is None else (context.stamp,),
    )


def _indicator(row: IndicatorRow, context: MatchContext) -> Indicator:
    told = row.provenance
    return Indicator(
        kind=row.kind.value,
        value=row.value,
        feed=told.feed,
        confidence=told.confidence,
        tlp=told.tlp,
        first_seen=told.first_seen,
        expires=told.expires,
        content_version=str(context.index.version),
        family=told.family,
        warning=told.warning,
    )


def _entities(observation: Observation) -> tuple[Entity, ...]:
    """What was matched, and the process behind it where it is another thing."""
    subject, process = observation.subject, observation.process
    if process is None or isinstance(subject.value, Process):
        return (subject,)
    return subject, Entity(Role.ACTOR, process)


def _arguments(seen: str, others: Sequence[IndicatorRow]) -> tuple[Argument, ...]:
    listed = "\n".join(
        f"{row.provenance.feed}: {row.kind} {row.value}, confidence {row.provenance.confidence}"
        for row in others[:ALSO_LISTED_MAX]
    )
    also = (Argument("also_listed", listed),) if listed else ()
    return (Argument("seen", seen), *also)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
