"""The rules that make incidents of findings.

One kind so far: N findings on one host within a window of event time. The id and text of a rule are
ours; the digest of all its values goes into every incident, so that who recomputes one knows by
which rule.
"""

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from proto.model import Attack, Finding, FindingKind, Severity

ATTACK_VERSION = "18.1"


class CountRule(Struct, frozen=True, kw_only=True):
    """``count_min`` matching findings of at least ``rules_min`` rules on a host in ``window_s``."""

    id: Annotated[str, Meta(max_length=128)]
    title: Annotated[str, Meta(max_length=256)]
    severity: Severity
    kinds: tuple[FindingKind, ...]
    severity_min: Severity = Severity.LOW
    # Empty for any rule; else the ids whose findings count.
    of_rules: tuple[str, ...] = ()
    count_min: Annotated[int, Meta(ge=2, le=10_000)]
    rules_min: Annotated[int, Meta(ge=1, le=100)] = 1
    window_s: Annotated[int, Meta(ge=1, le=7 * 86_400)]
    attack: tuple[Attack, ...] = ()

    @property
    def digest(self) -> bytes:
        """SHA-256 of the rule's canonical JSON."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).digest()

    def selects(self, finding: Finding) -> bool:
        """Return whether a finding counts."""
        return (
            finding.kind in self.kinds
            and finding.severity.rank >= self.severity_min.rank
            and (not self.of_rules or finding.rule.id in self.of_rules)
        )


RULES: tuple[CountRule, ...] = (
    CountRule(
        id="host.several-detections",
        title="Several different detections on one host",
        severity=Severity.HIGH,
        kinds=(FindingKind.DETECTION, FindingKind.INTEGRITY),
        count_min=3,
        rules_min=2,
        window_s=600,
    ),
    CountRule(
        id="host.repeated-failed-logins",
        title="Repeated failed logins on one host",
        severity=Severity.MEDIUM,
        kinds=(FindingKind.DETECTION,),
        severity_min=Severity.INFORMATIONAL,
        of_rules=("login.failed",),
        count_min=5,
        window_s=300,
        attack=(Attack(version=ATTACK_VERSION, technique="T1110", tactic="credential-access"),),
    ),
)
