"""Verdicts from evidence alone: the same judgement on the host and years later, offline.

The order of a judgement:

1. A check that does not apply needs proof: the predicate's evidence, read and false. A predicate
   that could not be read leaves the check unknown.
2. A probe that could not look gives what the check's ``on_error`` says: fail or unknown.
3. A fact that is not there gives what ``on_missing`` says: fail or unknown.
4. Only facts that were read, and are as expected, pass.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from agent.sense.posture.expect import FactMisfit, Facts, Truth, evaluate, why_not
from proto.content.checks import (
    CheckSpec,
    Expect,
    Fallback,
    Request,
    UnknownReason,
    evidence_digest,
)
from proto.errors import Malformed
from proto.model import CheckState, Evidence

_FALLBACK: Final[Mapping[Fallback, CheckState]] = {
    Fallback.FAIL: CheckState.FAIL,
    Fallback.UNKNOWN: CheckState.UNKNOWN,
}
_FACTS: Final = msgspec.json.Decoder(dict[str, object])


class Reading(Struct, frozen=True):
    """What a probe answered: facts, or in ``unknown`` why there are none."""

    digest: bytes
    unknown: str
    facts: Mapping[str, object]


Readings = Mapping[Request, Reading]


class Verdict(Struct, frozen=True):
    """What a check says of a host, why, and the digests of the evidence it says it by.

    ``reason`` of an unknown verdict begins with a word of `UnknownReason`.
    """

    check: str
    version: int
    state: CheckState
    reason: str
    evidence: tuple[bytes, ...]


def judge(check: CheckSpec, readings: Readings) -> Verdict:
    """Return what the check says of these readings.

    Args:
        check: from content.
        readings: what the probes answered, by question; a question nobody asked is unknown.
    """
    used: tuple[bytes, ...] = ()
    predicate = check.predicate
    if predicate is not None and check.applies_if is not None:
        reading = readings.get(predicate)
        if reading is None or not reading.digest:
            return _unknown(check, UnknownReason.PROBE_MISSING.value, used)
        used = (reading.digest,)
        if reading.unknown:
            return _unknown(check, f"{reading.unknown}: whether it applies", used)
        state, reason = _compare(check.applies_if.expect, reading.facts, Fallback.UNKNOWN)
        if state is CheckState.UNKNOWN:
            return _unknown(check, f"{reason}: whether it applies", used)
        if state is CheckState.FAIL:
            return _verdict(check, CheckState.NOT_APPLICABLE, reason, used)
    return _judge_facts(check, readings.get(check.request), used)


def _judge_facts(check: CheckSpec, reading: Reading | None, used: tuple[bytes, ...]) -> Verdict:
    if reading is None or not reading.digest:
        return _unknown(check, UnknownReason.PROBE_MISSING.value, used)
    used = (*used, reading.digest) if reading.digest not in used else used
    if reading.unknown:
        return _verdict(check, _FALLBACK[check.on_error], reading.unknown, used)
    state, reason = _compare(check.expect, reading.facts, check.on_missing)
    return _verdict(check, state, reason, used)


def _compare(expect: Expect, facts: Facts, missing: Fallback) -> tuple[CheckState, str]:
    try:
        truth = evaluate(expect, facts)
        reason = "" if truth is Truth.TRUE else why_not(expect, facts)
    except FactMisfit as misfit:
        return CheckState.UNKNOWN, f"{UnknownReason.PARSE.value}: {misfit.message}"
    if truth is Truth.TRUE:
        return CheckState.PASS, ""
    if truth is Truth.FALSE:
        return CheckState.FAIL, reason
    return _FALLBACK[missing], f"{UnknownReason.MISSING.value}: {reason}"


def _unknown(check: CheckSpec, reason: str, used: tuple[bytes, ...]) -> Verdict:
    return _verdict(check, CheckState.UNKNOWN, reason, used)


def _verdict(check: CheckSpec, state: CheckState, reason: str, used: tuple[bytes, ...]) -> Verdict:
    return Verdict(check.id, check.version, state, reason, used)


def reading_of(evidence: Evidence) -> Reading:
    """Return the reading that a piece of evidence holds.

    Args:
        evidence: untrusted, as decoded from a record.

    Raises:
        Malformed: its digest is not that of its content, or its facts are not a JSON object.
    """
    request = Request(evidence.probe, evidence.parameters)
    digest = evidence_digest(request, evidence.version, evidence.unknown, evidence.facts)
    if digest != evidence.digest:
        raise Malformed("the evidence is not what its digest names")
    if evidence.unknown:
        return Reading(digest, evidence.unknown, {})
    try:
        facts = _FACTS.decode(evidence.facts)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("the facts of the evidence are not a JSON object") from error
    return Reading(digest, "", facts)


def rejudge(evidence: Iterable[Evidence], checks: Iterable[CheckSpec]) -> tuple[Verdict, ...]:
    """Return the verdicts that the evidence alone gives; of two answers the later one counts.

    Args:
        evidence: untrusted, in any order.
        checks: in the order of the verdicts wanted.

    Raises:
        Malformed: a piece of evidence contradicts itself.
    """
    latest: dict[Request, Evidence] = {}
    for piece in evidence:
        request = Request(piece.probe, piece.parameters)
        known = latest.get(request)
        if known is None or (known.collected_at, known.digest) < (piece.collected_at, piece.digest):
            latest[request] = piece
    readings = {request: reading_of(piece) for request, piece in latest.items()}
    return tuple(judge(check, readings) for check in checks)
