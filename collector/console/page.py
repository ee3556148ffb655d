"""The status page: health, lag and counts, as HTML without scripts. Pure; everything is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from collector.console.metrics import METRICS, folded
from collector.console.ports import Check, Sample

STYLE: Final = """\
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #8884; }
td.number { text-align: right; font-variant-numeric: tabular-nums; padding-right: 0; }
.ok { color: #18794e; } .bad { color: #c62a2f; font-weight: 600; }
"""
_TITLE: Final = "Vedette collector"


def render(version: str, checks: Sequence[Check], samples: Iterable[Sample]) -> str:
    """Return the page.

    Args:
        version: of the collector.
        checks: of readiness.
        samples: every number there is.
    """
    ready = bool(checks) and all(check.ok for check in checks)
    word = '<span class="ok">ready</span>' if ready else '<span class="bad">not ready</span>'
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{_TITLE}</title>\n"
        '<link rel="stylesheet" href="/style.css">\n</head>\n<body>\n'
        f"<h1>{_TITLE} {escape(version)}: {word}</h1>\n"
        f"{_checks(checks)}{_metrics(samples)}</body>\n</html>\n"
    )


def _checks(checks: Sequence[Check]) -> str:
    rows = [
        (check.name, "holds" if check.ok else "does not hold", check.detail) for check in checks
    ]
    return _table("Health", ("check", "state", "detail"), rows)


def _metrics(samples: Iterable[Sample]) -> str:
    parts = []
    for name, series in folded(samples).items():
        spec = METRICS[name]
        rows = [(*labels, _number(value)) for labels, value in sorted(series.items())]
        parts.append(_table(spec.help, (*spec.labels, "value"), rows))
    return "".join(parts)


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(_row(columns, row) for row in rows)
    return f"<h2>{escape(title)}</h2>\n<table>\n<tr>{head}</tr>\n{body}</table>\n"


def _row(columns: Sequence[str], row: Sequence[str]) -> str:
    cells = (_cell(column, text) for column, text in zip(columns, row, strict=True))
    return f"<tr>{''.join(cells)}</tr>\n"


def _cell(column: str, text: str) -> str:
    kind = ' class="number"' if column == "value" else ""
    return f"<td{kind}>{escape(text)}</td>"


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.1f}"
