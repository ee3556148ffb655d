"""Readiness as words and rows: the same numbers for a terminal, a script and a report.

It is readiness evidence, an input to somebody's judgement, and the words keep to that.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from collector.comply.score import ItemReadiness, Readiness
from proto.model import CheckState, Score, ScoreItem
from runtime.clock import NS_PER_S

Row = dict[str, object]
DETAIL_MAX: Final = 1024


def score_record(readiness: Readiness) -> Score:
    """Return what the collector states of a framework; only requirements with checks are listed."""
    detail = tuple(
        ScoreItem(item.reference, item.state, item.score, item.coverage, item.checks)
        for item in readiness.items
        if item.checks
    )
    return Score(
        framework=readiness.framework,
        edition=readiness.edition,
        as_of=readiness.as_of,
        items=len(readiness.items),
        evidenced=readiness.evidenced,
        assured=readiness.score,
        coverage=readiness.coverage,
        upper=readiness.upper,
        hosts=readiness.hosts,
        hosts_reporting=readiness.hosts_reporting,
        mapping_digest=readiness.mapping_digest,
        detail=detail[:DETAIL_MAX],
    )


def headline_rows(readings: Iterable[Readiness]) -> Iterator[Row]:
    """Yield one row a framework; fractions as percentages with one decimal."""
    for reading in readings:
        states = [item.state for item in reading.items if item.checks]
        yield {
            "framework": reading.framework,
            "edition": reading.edition,
            "title": reading.title,
            "as_of": _when(reading.as_of),
            "items": len(reading.items),
            "evidenced": reading.evidenced,
            "supporting": reading.supporting,
            "score_percent": _percent(reading.score),
            "upper_percent": _percent(reading.upper),
            "coverage_percent": _percent(reading.coverage),
            "no_evidence": reading.no_evidence,
            "items_failing": states.count(CheckState.FAIL),
            "hosts": reading.hosts,
            "hosts_reporting": reading.hosts_reporting,
            "hosts_failing": reading.hosts_failing,
            "worst_host_percent": _percent(reading.worst_score),
        }


def item_rows(reading: Readiness) -> Iterator[Row]:
    """Yield one row a requirement that checks speak for."""
    for item in reading.items:
        if item.checks:
            yield {
                "framework": reading.framework,
                "edition": reading.edition,
                "reference": item.reference,
                "title": item.title,
                "state": item.state.value,
                "evidence": _evidence(item),
                "score_percent": _percent(item.score),
                "coverage_percent": _percent(item.coverage),
                "machine_share_percent": _percent(item.machine_share),
                "checks": item.checks,
            }


def text(readings: Iterable[Readiness]) -> str:
    """Return the headlines for people, a paragraph a framework."""
    return "\n\n".join(_paragraph(reading) for reading in readings) + "\n"


def _paragraph(reading: Readiness) -> str:
    lines = [f"Readiness evidence for {reading.title}"]
    if reading.no_evidence:
        lines.append(f"  no evidence: nothing seen for any of {len(reading.items)} requirements")
    else:
        lines.append(
            f"  {reading.evidenced} of {len(reading.items)} requirements have machine evidence, "
            f"{reading.supporting} more have supporting evidence"
        )
        lines.append(
            f"  evidenced score {_percent(reading.score)} % "
            f"(could be up to {_percent(reading.upper)} %), "
            f"coverage {_percent(reading.coverage)} %"
        )
    lines.append(
        f"  {reading.hosts_reporting} of {reading.hosts} hosts reporting, "
        f"{reading.hosts_failing} with a failing check; as of {_when(reading.as_of)}"
    )
    return "\n".join(lines)


def _evidence(item: ItemReadiness) -> str:
    if item.evidenced:
        return "direct"
    return "supporting" if item.supporting else "none"


def _percent(share: float) -> float:
    # Never round up to a whole that is not there.
    return min(round(100 * share, 1), 99.9) if share < 1 else 100.0


def _when(at: int) -> str:
    return datetime.fromtimestamp(at // NS_PER_S, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
