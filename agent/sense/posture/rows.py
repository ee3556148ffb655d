"""One pass over the host, as rows for a person or a script."""

from collections.abc import Iterator
from typing import Final

from agent.sense.posture.judge import Reading, Verdict, judge
from agent.sense.posture.probing import ask, questions
from agent.sense.posture.reader import HostFiles, HostReader
from proto.content.checks import CheckPack, CheckSpec, Request, builtin_pack
from runtime.clock import Clock

Row = dict[str, object]
KEYS: Final = ("check", "state", "reason", "severity", "refs")


def rows(host: HostFiles, clock: Clock, pack: CheckPack | None = None) -> Iterator[Row]:
    """Yield one row a check, in the order of the pack: `KEYS`, as they are printed.

    Args:
        host: the tree to look at.
        clock: what time it is.
        pack: None for the checks that we ship.
    """
    checks = (pack or builtin_pack()).checks
    for check, verdict in zip(checks, verdicts(checks, host, clock), strict=True):
        yield {
            "check": check.id,
            "state": verdict.state.value,
            "reason": verdict.reason,
            "severity": check.severity.value,
            "refs": list(check.references),
        }


def verdicts(checks: tuple[CheckSpec, ...], host: HostFiles, clock: Clock) -> tuple[Verdict, ...]:
    """Return the verdict of each check, every question put once."""
    reader = HostReader(host, clock)
    readings: dict[Request, Reading] = {}
    for request in questions(checks):
        _, readings[request] = ask(request, reader, clock)
    return tuple(judge(check, readings) for check in checks)
