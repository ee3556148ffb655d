"""Why an observation is a finding, or is none: what each judge looked at and what came of it. Pure.

The judges themselves run, over an index that notes what it was asked: so what is told is what
happened, and not a second opinion.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct, structs

from agent.sense.match import indicators, logins, packaged
from agent.sense.match.context import MatchContext
from agent.sense.match.judge import judge
from proto.content.errors import BadValue
from proto.content.index import IndicatorIndex, IndicatorRow
from proto.content.kinds import IndicatorKind
from proto.content.normalise import normalise
from proto.model import File, Finding, Login, Observation, ObservationKind, Process

INDICATORS: Final = "indicators"
LOGINS: Final = "logins"
PACKAGED: Final = "packaged"

_WIDER: Final = {
    IndicatorKind.HOSTNAME: "host, or domain that it lies in",
    IndicatorKind.DOMAIN: "host, or domain that it lies in",
    IndicatorKind.URL: "URL, prefix of it, host or domain",
    IndicatorKind.URL_PREFIX: "URL, prefix of it, host or domain",
}


class Reason(Struct, frozen=True):
    """One step of a judge.

    Args:
        judge: whose step.
        value: what was looked at, as the host has it.
        form: the spelling it was compared in; empty where there is none.
        outcome: match, signal, expired, not listed, no form, no value, no rule or finding.
        why: in words.
    """

    judge: str
    value: str
    form: str
    outcome: str
    why: str


class _Asked(Struct, frozen=True):
    """A question to the index and its answer; ``kind`` is None for an address."""

    kind: IndicatorKind | None
    value: str
    port: int | None
    rows: tuple[IndicatorRow, ...]


class _NotingIndex:
    """An index that remembers what it was asked."""

    def __init__(self, index: IndicatorIndex) -> None:
        self._index = index
        self.asked: list[_Asked] = []

    @property
    def version(self) -> int:
        return self._index.version

    @property
    def count(self) -> int:
        return self._index.count

    @property
    def built_at(self) -> int:
        return self._index.built_at

    def lookup(self, kind: IndicatorKind, value: str) -> tuple[IndicatorRow, ...]:
        rows = self._index.lookup(kind, value)
        self.asked.append(_Asked(kind, value, None, rows))
        return rows

    def lookup_address(self, address: str, port: int | None) -> tuple[IndicatorRow, ...]:
        rows = self._index.lookup_address(address, port)
        self.asked.append(_Asked(None, address, port, rows))
        return rows

    def lookup_name(self, name: str) -> tuple[IndicatorRow, ...]:
        rows = self._index.lookup_name(name)
        self.asked.append(_Asked(IndicatorKind.HOSTNAME, name, None, rows))
        return rows

    def lookup_url(self, url: str) -> tuple[IndicatorRow, ...]:
        rows = self._index.lookup_url(url)
        self.asked.append(_Asked(IndicatorKind.URL, url, None, rows))
        return rows


def explain(observation: Observation, context: MatchContext) -> list[Reason]:
    """Return every step of every judge, findings last.

    Raises:
        ContentDamaged: the mapped index changed under us.
    """
    noting = _NotingIndex(context.index)
    found = judge(observation, structs.replace(context, index=noting))
    reasons = [*_gaps(observation)]
    for asked in noting.asked:
        reasons += _lookup(asked, context)
    if not noting.asked:
        why = f"of a {observation.kind.value} nothing is compared with indicators"
        reasons.append(Reason(INDICATORS, observation.kind.value, "", "no rule", why))
    reasons += _login(observation)
    reasons += _packaged(observation)
    return [*reasons, *(_finding(finding) for finding in found)]


def explain_value(kind: IndicatorKind, value: str, context: MatchContext) -> list[Reason]:
    """Return what the index makes of one value.

    Raises:
        ContentDamaged: the mapped index changed under us.
    """
    if kind in {IndicatorKind.DOMAIN, IndicatorKind.HOSTNAME}:
        rows = context.index.lookup_name(value)
    elif kind in {IndicatorKind.URL, IndicatorKind.URL_PREFIX}:
        rows = context.index.lookup_url(value)
    else:
        rows = context.index.lookup(kind, value)
    return list(_lookup(_Asked(kind, value, None, rows), context))


def _gaps(observation: Observation) -> Iterator[Reason]:
    """Yield what a judge would have looked at, had it been collected."""
    thing = observation.subject.value
    if isinstance(thing, Process | File) and not isinstance(thing.sha256, bytes):
        why = "; ".join(thing.caveats) or "the sensor did not collect it"
        yield Reason(INDICATORS, "sha256", "", "no value", why)
    if isinstance(thing, Login) and not isinstance(thing.remote_address, str):
        yield Reason(INDICATORS, "remote_address", "", "no value", "the login names no address")


def _lookup(asked: _Asked, context: MatchContext) -> Iterator[Reason]:
    value = asked.value if asked.port is None else f"{asked.value} port {asked.port}"
    try:
        form = _form(asked)
    except BadValue as error:
        yield Reason(INDICATORS, value, "", "no form", error.message)
        return
    if asked.kind is None:
        yield Reason(INDICATORS, value, form, "port rule", _port_rule(asked))
    if not asked.rows:
        what = "address, network or endpoint" if asked.kind is None else _what(asked.kind)
        release = f"release {context.index.version} with {context.index.count} indicators"
        yield Reason(INDICATORS, value, form, "not listed", f"{release} has no such {what}")
    for row in asked.rows:
        yield Reason(INDICATORS, value, form, *_verdict(row, context.now))


def _what(kind: IndicatorKind) -> str:
    return _WIDER.get(kind, kind.value)


def _form(asked: _Asked) -> str:
    if asked.kind is not None:
        return normalise(asked.kind, asked.value)
    kind = IndicatorKind.IPV6 if ":" in asked.value else IndicatorKind.IPV4
    return normalise(kind, asked.value)


def _port_rule(asked: _Asked) -> str:
    if asked.port is None:
        return "no port of a service was seen: indicators with a port are left out"
    return f"indicators with a port count where it is {asked.port}; those without count always"


def _verdict(row: IndicatorRow, now: int) -> tuple[str, str]:
    told = row.provenance
    who = f"{row.kind.value} {row.value} of feed {told.feed}, confidence {told.confidence}"
    if told.expires is not None and told.expires <= now:
        return "expired", f"{who}: expired {(now - told.expires) // 10**9} s ago"
    if told.warning:
        return "signal", f"{who}: warninglist {told.warning} calls it harmless"
    severity = indicators.severity_of(row)
    return "match", f"{who}: severity {severity.value}, or higher where it was run"


def _login(observation: Observation) -> Iterator[Reason]:
    login = observation.subject.value
    if observation.kind is not ObservationKind.LOGIN or not isinstance(login, Login):
        return
    outcome = login.outcome if isinstance(login.outcome, str) else ""
    table = "; ".join(
        f"{word} {'remote' if is_remote else 'local'}: {rule.rule.id}"
        for (word, is_remote), rule in logins.LOGIN_RULES.items()
    )
    found = logins.judge(observation, bytes(16), bytes(16))
    word = found[0].rule.id if found else "no rule"
    yield Reason(LOGINS, outcome or "no outcome", "", word, f"the table is {table}")


def _packaged(observation: Observation) -> Iterator[Reason]:
    file = observation.subject.value
    if not isinstance(file, File):
        return
    words = [word for word in file.caveats if word in packaged.ACTIVITIES]
    if not words:
        why = "the sensor did not say that it differs from its package"
        yield Reason(PACKAGED, file.path, "", "no rule", why)
    elif not packaged.is_program(file):
        yield Reason(PACKAGED, file.path, "", "no rule", f"{words[0]}, but it is no program")


def _finding(finding: Finding) -> Reason:
    why = f"{finding.severity.value} {finding.disposition.value}: {finding.title}"
    return Reason(finding.rule.id, finding.key.hex(), "", "finding", why)
