"""Findings as a busy host makes them: an indicator met by a process with arguments and ancestors.

All differ in what differs on a host (process, times, path, digest), so that neither compression nor
a cache is flattered.
"""

import random
from collections.abc import Iterator
from typing import Final

from proto import model
from proto.uids import finding_key

TENANT: Final = bytes(range(16))
BOOT: Final = bytes(range(16, 32))
_BEGAN_NS: Final = 1_790_000_000_000_000_000
_PROGRAMS: Final = ("curl", "python3", "sshd", "bash", "nginx", "postgres", "cron", "java")


def findings(count: int, host: bytes, seed: int = 7) -> Iterator[model.Finding]:
    """Yield findings of one host.

    Args:
        count: how many.
        host: the agent's 16 bytes.
        seed: the same gives the same findings.
    """
    draw = random.Random(seed)
    for number in range(count):
        yield _finding(number, host, draw)


def _finding(number: int, host: bytes, draw: random.Random) -> model.Finding:
    program = draw.choice(_PROGRAMS)
    digest = draw.randbytes(32)
    path = f"/srv/upload/{draw.randrange(1000)}/{draw.randbytes(6).hex()}.bin"
    seen = _BEGAN_NS + number * 1_000_000
    process = _process(program, draw, number)
    return model.Finding(
        kind=model.FindingKind.DETECTION,
        activity=model.Activity.CREATE,
        disposition=model.Disposition.ALERT,
        severity=model.Severity.HIGH,
        confidence=90,
        title="Listed file",
        key=finding_key(TENANT, host, model.FindingKind.DETECTION, "indicator.sha256", path),
        rule=model.Rule("indicator.sha256", "Listed file", "1"),
        source=model.Source("files", "inotify", "configured trees"),
        event_time=seen,
        event_precision=model.Precision.EXACT,
        observed_at=seen + 1_000_000,
        indicator=model.Indicator(
            kind="sha256", value=digest.hex(), feed="malware", confidence=90, family="sample"
        ),
        entities=(
            model.Entity(
                model.Role.TARGET,
                model.File(path=path, sha256=digest, size=draw.randrange(1 << 24), mode=0o644),
            ),
        ),
        process=process,
    )


def _process(program: str, draw: random.Random, number: int) -> model.Process:
    return model.Process(
        boot_id=BOOT,
        pid=1000 + draw.randrange(30_000),
        start=10_000_000 * number,
        ppid=1 + draw.randrange(1000),
        name=program,
        exe=f"/usr/bin/{program}",
        argv=(program, "--output", f"/tmp/{draw.randbytes(4).hex()}"),  # noqa: S108 - text
        user=model.User(uid=draw.randrange(1000, 1010), name="www-data"),
        unit=f"{program}.service",
    )
