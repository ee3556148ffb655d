"""What commands print: findings as stable rows, rows as JSON Lines or as a table for people.

Scripts depend on the names of the fields; they are part of what is agreed on.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from proto.model import Finding
from proto.uids import show

CELL_CHARS_MAX = 60
FINDING_COLUMNS = ("severity", "kind", "title", "rule", "source", "uid")


def finding_row(finding: Finding) -> dict[str, object]:
    """Return a finding that was not sealed as a row; its ``uid`` is the finding key."""
    raw = plain(finding)
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


def plain(value: object) -> Any:  # noqa: ANN401  (whatever JSON holds)
    """Return a model value as JSON holds it: bytes in hexadecimal, the uncollected absent."""
    return _hex(msgspec.to_builtins(value, builtin_types=(bytes,)))


def _hex(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: _hex(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hex(item) for item in value]
    return value


def lines(
    rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, as_json: bool
) -> Iterator[str]:
    """Yield rows as lines without their ends.

    Args:
        rows: values may be host text; no character of it can end a line or move a cursor.
        columns: what a person sees, as a table with a heading.
        as_json: one object a line, every field, instead of the table.
    """
    if as_json:
        for row in rows:
            yield json.dumps(row, default=str)
        return
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    heading = [column.upper() for column in columns]
    widths = [max(map(len, column)) for column in zip(heading, *cells, strict=True)]
    for line in (heading, *cells):
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    if len(shown) <= CELL_CHARS_MAX:
        return shown
    return shown[: CELL_CHARS_MAX - 1] + "\N{HORIZONTAL ELLIPSIS}"
