"""Detection rules met by what a host does: one finding for each rule an observation meets. Pure.

Severity is the rule's own. What is informational is a signal and no alert; a rule that its authors
have given up is only kept. How sure they are says its status. The text of the host stands in the
arguments: the fields by which the rule matched.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from agent.sense.match.sigma import RuleEngine, RuleMatch
from agent.sense.match.sigmaevent import FieldValue
from agent.sense.match.sigmafields import event_of
from agent.sense.match.sigmaprefilter import texts_of
from proto.content.rules import DetectionRule, RuleSet
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
    LogLine,
    Observation,
    Process,
    Role,
    Rule,
    Severity,
)
from proto.uids import finding_key

FIELDS_MAX: Final = 31
TEXT_CHARS_MAX: Final = 4096
_CONFIDENCE: Final = {"stable": 90, "test": 70, "experimental": 50}
_CONFIDENCE_ELSE: Final = 50
_GIVEN_UP: Final = frozenset({"deprecated", "unsupported"})
_SEPARATOR: Final = "\0"


class RuleJudge:
    """Rules, as what judges observations.

    Args:
        rules: have been checked.

    Raises:
        ContentDamaged: an expression or a network of a rule is none.
    """

    def __init__(self, rules: RuleSet) -> None:
        self._engine = RuleEngine(rules)
        self._version = rules.attack_version

    def judge(self, observation: Observation, tenant: bytes, host: bytes) -> tuple[Finding, ...]:
        """Return a finding for each rule that an observation meets; mostly none."""
        event = event_of(observation, self._engine.fields)
        if event is None:
            return ()
        return tuple(
            self._finding(observation, found, tenant, host) for found in self._engine.match(event)
        )

    def _finding(
        self, observation: Observation, found: RuleMatch, tenant: bytes, host: bytes
    ) -> Finding:
        rule, thing = found.rule, observation.subject.value
        subject = _SEPARATOR.join(_subject(observation))
        return Finding(
            kind=FindingKind.DETECTION,
            activity=Activity.CREATE,
            disposition=_disposition(rule),
            severity=rule.severity,
            confidence=_CONFIDENCE.get(rule.status, _CONFIDENCE_ELSE),
            title=rule.title,
            key=finding_key(tenant, host, FindingKind.DETECTION, rule.id, subject),
            rule=Rule(rule.id, rule.title),
            source=observation.source,
            event_time=observation.event_time,
            event_precision=observation.event_precision,
            observed_at=observation.observed_at,
            attack=tuple(
                Attack(self._version, one.technique, one.tactic)
                for one in rule.attack
                if one.technique
            )[:16],
            entities=_entities(observation),
            process=thing if isinstance(thing, Process) else observation.process,
            ancestry=observation.ancestry,
            arguments=tuple(_arguments(found.fields, rule)),
        )


def _disposition(rule: DetectionRule) -> Disposition:
    if rule.status in _GIVEN_UP:
        return Disposition.SHADOW
    is_signal = rule.severity is Severity.INFORMATIONAL
    return Disposition.SIGNAL if is_signal else Disposition.ALERT


def _entities(observation: Observation) -> tuple[Entity, ...]:
    """What was matched, and the process behind it where it is another thing."""
    subject, process = observation.subject, observation.process
    if process is None or isinstance(subject.value, Process):
        return (subject,)
    return subject, Entity(Role.ACTOR, process)


def _subject(observation: Observation) -> Iterator[str]:
    """Yield what names the thing found: who did it, and to what."""
    thing, process = observation.subject.value, observation.process
    if process is not None and isinstance(process.exe, str):
        yield process.exe
    match thing:
        case Process():
            yield thing.exe if isinstance(thing.exe, str) else ""
            yield from (one.exe for one in observation.ancestry[:1] if isinstance(one.exe, str))
        case File():
            yield thing.path
        case Endpoint():
            yield f"{thing.remote_address} {thing.remote_port}"
        case DnsMessage():
            yield thing.name
        case LogLine():
            yield thing.program
        case _:
            pass


def _arguments(fields: Mapping[str, FieldValue], rule: DetectionRule) -> Iterator[Argument]:
    for name, value in list(fields.items())[:FIELDS_MAX]:
        yield Argument(name, "\n".join(texts_of(value))[:TEXT_CHARS_MAX])
    if rule.author:
        yield Argument("rule_author", rule.author)
