"""Findings as the stable rows that scripts read: one JSON object a line."""

import msgspec

from proto.model import Finding
from proto.uids import show

FINDING_COLUMNS = ("severity", "kind", "title", "rule", "source", "uid")


def finding_row(finding: Finding) -> dict[str, object]:
    """Return a finding as a row; ``uid`` is the finding key, for nothing was sealed."""
    raw = msgspec.to_builtins(finding, builtin_types=(), enc_hook=str)
    row: dict[str, object] = {
        "uid": show(finding.key),
        "kind": finding.kind.value,
        "severity": finding.severity.value,
        "title": finding.title,
        "rule": finding.rule.id,
        "source": f"{finding.source.sensor}/{finding.source.rung}",
        "coverage": finding.source.coverage,
        "observed_at": finding.observed_at,
    }
    for name in ("event_time", "activity", "disposition", "confidence", "entities", "process"):
        row[name] = raw[name]
    for name in ("indicator", "attack", "check", "arguments", "login", "ancestry", "content"):
        if raw[name]:
            row[name] = raw[name]
    return row
