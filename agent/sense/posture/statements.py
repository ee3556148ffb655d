"""What is worth saying of verdicts: each one once, then changes, then all of them again in time.

A failing check is a thing found; it stays open until it is seen to pass or not to apply. A check
that can no longer be seen does not close what it found. A change is another state, or another
reason for the same one; an unchanged verdict is said again when its interval has passed, so that
its age at the collector tells whether anybody still looks.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agent.sense.posture.judge import Verdict
from proto.content.checks import CHECKS_MAX, CheckSpec
from proto.model import (
    Activity,
    Argument,
    Check,
    CheckState,
    Disposition,
    Finding,
    FindingKind,
    Precision,
    Rule,
    Severity,
    Source,
)
from proto.uids import finding_key
from runtime.clock import NS_PER_S

MEMORY_BYTES_MAX: Final = 512 * 1024
SOURCE: Final = Source(
    sensor="posture",
    rung="files",
    coverage="configuration and state that files show; what could not be read is unknown",
)
_MARK_CHARS: Final = 16
_CERTAIN: Final = 100
_SETTLED: Final = frozenset({CheckState.PASS, CheckState.NOT_APPLICABLE})


class Subject(Struct, frozen=True):
    """Whose posture it is: the 16 bytes of the tenant and of the agent."""

    tenant: bytes
    host: bytes


class Said(Struct, frozen=True, array_like=True):
    """What was last said of a check; the reason by its mark, ``at`` in wall-clock nanoseconds."""

    state: CheckState
    reason: Annotated[str, Meta(max_length=_MARK_CHARS)]
    version: int
    at: int
    open: bool


Memory = Mapping[str, Said]
_MEMORY: Final = msgspec.json.Decoder(
    Annotated[dict[Annotated[str, Meta(max_length=64)], Said], Meta(max_length=CHECKS_MAX)]
)


def is_due(check: CheckSpec, verdict: Verdict, said: Said | None, now: int) -> bool:
    """Tell whether a verdict is worth saying now (nanoseconds UTC)."""
    if said is None or said.version != verdict.version:
        return True
    if (said.state, said.reason) != (verdict.state, _mark(verdict.reason)):
        return True
    # A clock that was set back must not silence a check.
    return not 0 <= now - said.at < check.interval_s * NS_PER_S


def after(verdict: Verdict, said: Said | None, now: int) -> Said:
    """Return what to remember once a verdict has been said."""
    was_open = said is not None and said.open
    open_ = verdict.state is CheckState.FAIL or (was_open and verdict.state not in _SETTLED)
    return Said(verdict.state, _mark(verdict.reason), verdict.version, now, open_)


def activity(verdict: Verdict, said: Said | None) -> Activity:
    """Return where this statement stands in the life of the thing found."""
    if said is None:
        return Activity.CREATE
    if verdict.state is CheckState.FAIL:
        return Activity.UPDATE if said.open else Activity.CREATE
    if said.open and verdict.state in _SETTLED:
        return Activity.CLOSE
    return Activity.UPDATE


def _mark(reason: str) -> str:
    return hashlib.sha256(reason.encode("utf-8", "surrogatepass")).hexdigest()[:_MARK_CHARS]


class Moment(Struct, frozen=True):
    """When it was seen and when it is said, in nanoseconds UTC."""

    seen: int
    now: int


def finding_of(
    check: CheckSpec, verdict: Verdict, subject: Subject, said: Said | None, moment: Moment
) -> Finding:
    """Return the statement of a verdict; only a failing check raises an alert."""
    failed = verdict.state is CheckState.FAIL
    return Finding(
        kind=FindingKind.COMPLIANCE,
        activity=activity(verdict, said),
        disposition=Disposition.ALERT if failed else Disposition.SIGNAL,
        severity=check.severity if failed else Severity.INFORMATIONAL,
        confidence=_CERTAIN,
        title=check.title,
        key=finding_key(subject.tenant, subject.host, FindingKind.COMPLIANCE, check.id, check.id),
        rule=Rule(id=check.id, name=check.title, version=str(check.version)),
        source=SOURCE,
        event_time=moment.seen,
        event_precision=Precision.POLL,
        observed_at=moment.now,
        arguments=(Argument("reason", verdict.reason),) if verdict.reason else (),
        check=Check(
            id=check.id,
            version=str(check.version),
            state=verdict.state,
            reason=verdict.reason,
            evidence=verdict.evidence,
            max_age=check.max_age_s * NS_PER_S,
            interval=check.interval_s * NS_PER_S,
            references=check.references,
        ),
    )


def dump_memory(memory: Memory) -> bytes:
    """Return the memory as bytes that `load_memory` reads back."""
    return msgspec.json.encode(memory, order="sorted")


def load_memory(data: bytes) -> dict[str, Said]:
    """Return what was remembered; nothing, so that all is said anew, where that cannot be read."""
    if not data or len(data) > MEMORY_BYTES_MAX:
        return {}
    try:
        memory: dict[str, Said] = _MEMORY.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return memory
