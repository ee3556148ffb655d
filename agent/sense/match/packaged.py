"""Programs that are not what their package made of them, as findings. Pure.

The file sensor compares and says so in a caveat, once for each turn: that it differs, that it still
does after another change, that it does so no longer. So a finding opens, is renewed and closes.
Only what runs is judged here: executables, shared libraries and kernel modules.

Source: MITRE ATT&CK Enterprise v18.1, technique T1554 (Compromise Host Software Binary).
"""

import re
from collections.abc import Mapping
from typing import Final

from agent.sense.match.logins import ATTACK_VERSION
from proto.model import (
    Activity,
    Argument,
    Attack,
    Disposition,
    File,
    Finding,
    FindingKind,
    Observation,
    Rule,
    Severity,
)
from proto.uids import finding_key

UNLIKE: Final = "differs from its package"
STILL_UNLIKE: Final = "still differs from its package"
LIKE_AGAIN: Final = "no longer differs from its package"

MODIFIED: Final = Rule("file.packaged.modified", "Modified packaged program", "1")
TITLE: Final = "Packaged program was modified"
ATTACK: Final = Attack(ATTACK_VERSION, "T1554", "persistence")

ACTIVITIES: Final[Mapping[str, Activity]] = {
    UNLIKE: Activity.CREATE,
    STILL_UNLIKE: Activity.UPDATE,
    LIKE_AGAIN: Activity.CLOSE,
}

# A package's list of digests can be rewritten by whoever can rewrite its files: a match proves
# little, a mismatch much, but an administrator's own build looks the same.
CONFIDENCE: Final = 70

_ANY_EXECUTE: Final = 0o111
_LIBRARY: Final = re.compile(r"\.(so(\.[0-9.]+)?|ko(\.(gz|xz|zst))?)\Z")


def judge(observation: Observation, tenant: bytes, host: bytes) -> tuple[Finding, ...]:
    """Return what a file means that differs, or did, from its package: one finding, or none.

    Args:
        observation: of any kind; only those of files are judged.
        tenant: the tenant's 16 bytes.
        host: the agent's 16 bytes.
    """
    file = observation.subject.value
    if not isinstance(file, File) or not file.caveats:
        return ()
    activity = next((ACTIVITIES[word] for word in file.caveats if word in ACTIVITIES), None)
    if activity is None or not is_program(file):
        return ()
    return (
        Finding(
            kind=FindingKind.INTEGRITY,
            activity=activity,
            disposition=Disposition.ALERT,
            severity=Severity.MEDIUM,
            confidence=CONFIDENCE,
            title=TITLE,
            key=finding_key(tenant, host, FindingKind.INTEGRITY, MODIFIED.id, file.path),
            rule=MODIFIED,
            source=observation.source,
            event_time=observation.event_time,
            event_precision=observation.event_precision,
            observed_at=observation.observed_at,
            attack=(ATTACK,),
            entities=(observation.subject,),
            process=observation.process,
            ancestry=observation.ancestry,
            arguments=_arguments(file),
        ),
    )


def is_program(file: File) -> bool:
    """Tell whether the file is something that runs: by its mode, or by its name."""
    if isinstance(file.mode, int) and file.mode & _ANY_EXECUTE:
        return True
    return _LIBRARY.search(file.path) is not None


def _arguments(file: File) -> tuple[Argument, ...]:
    return (Argument("package", file.package),) if isinstance(file.package, str) else ()
