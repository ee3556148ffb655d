"""Asking a host: the closed table of probes, and the evidence each answer becomes."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from agent.sense.posture.judge import Reading
from agent.sense.posture.probes import accounts, components, file, mounts, sshd, sysctl
from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import (
    CheckSpec,
    Request,
    UnknownReason,
    canonical,
    evidence_digest,
)
from proto.model import TEXT_BYTES_MAX, Evidence
from runtime.clock import Clock


class Probe(Struct, frozen=True):
    """A kind of question we can ask; ``version`` changes with the meaning of its facts."""

    version: str
    parameters: type[Struct]
    facts: type[Struct]
    run: Callable[..., Struct]


PROBES: Final[Mapping[str, Probe]] = {
    "accounts": Probe("1", accounts.Parameters, accounts.Facts, accounts.read),
    "components": Probe("1", components.Parameters, components.Facts, components.read),
    "file": Probe("1", file.Parameters, file.Facts, file.read),
    "mounts": Probe("1", mounts.Parameters, mounts.Facts, mounts.read),
    "sshd": Probe("1", sshd.Parameters, sshd.Facts, sshd.read),
    "sysctl": Probe("1", sysctl.Parameters, sysctl.Facts, sysctl.read),
}


def ask(request: Request, reader: HostReader, clock: Clock) -> tuple[Evidence, Reading]:
    """Put one question to the host; not to be answered is an answer too.

    Returns:
        The evidence to seal, and the same as `agent.sense.posture.judge` reads it.
    """
    collected = clock.wall_ns()
    started = clock.monotonic_ns()
    probe = PROBES.get(request.probe)
    unknown, facts = "", b""
    reader.restart()
    try:
        facts = _facts(probe, request, reader)
    except Unseen as unseen:
        unknown = unseen.reason.value
    version = probe.version if probe is not None else ""
    digest = evidence_digest(request, version, unknown, facts)
    evidence = Evidence(
        probe=request.probe,
        version=version,
        parameters=request.parameters,
        collected_at=collected,
        duration=max(0, clock.monotonic_ns() - started),
        unknown=unknown,
        facts=facts,
        digest=digest,
    )
    return evidence, Reading(digest, unknown, msgspec.json.decode(facts) if facts else {})


def questions(checks: tuple[CheckSpec, ...]) -> tuple[Request, ...]:
    """Return what the checks ask of a host, each question once, in the order of the checks."""
    asked: dict[Request, None] = {}
    for check in checks:
        if check.predicate is not None:
            asked[check.predicate] = None
        asked[check.request] = None
    return tuple(asked)


def _facts(probe: Probe | None, request: Request, reader: HostReader) -> bytes:
    if probe is None:
        raise Unseen(UnknownReason.PROBE_MISSING, f"no probe is called {request.probe}")
    try:
        parameters = msgspec.json.decode(request.parameters, type=probe.parameters)
    except msgspec.ValidationError as error:
        what = f"the probe {request.probe} does not know these parameters: {error}"
        raise Unseen(UnknownReason.PROBE_MISSING, what) from error
    facts = canonical(probe.run(parameters, reader))
    if len(facts) > TEXT_BYTES_MAX:
        raise Unseen(UnknownReason.OVERSIZE, f"the facts of {request.probe} are too many")
    return facts
