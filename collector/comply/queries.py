"""What the command line, the API and reports ask of the compliance projection; nothing is written.

Each takes the open database of one tenant and the time, and may be given a catalogue; without one
it is the catalogue of what we ship.
"""

import sqlite3

from collector.comply import tables
from collector.comply.explain import Loss, explain
from collector.comply.framework import FrameworkRejected
from collector.comply.mapping import Catalogue, builtin_catalogue
from collector.comply.report import score_record
from collector.comply.score import Readiness, Weighed, readiness, weigh
from proto.model import Score


def readings(
    db: sqlite3.Connection, now: int, catalogue: Catalogue | None = None
) -> tuple[Readiness, ...]:
    """Return the readiness for every framework, with every requirement.

    Args:
        db: a tenant's compliance database.
        now: nanoseconds UTC; where the newest batch is later, that moment counts.
        catalogue: None for what we ship.
    """
    ours = catalogue or builtin_catalogue()
    weighed = _weigh(db, now, ours)
    return tuple(readiness(scheme, weighed) for scheme in ours.schemes)


def scores(db: sqlite3.Connection, now: int, catalogue: Catalogue | None = None) -> list[Score]:
    """Return the same as records, without their sources; nothing is stated or sealed by it."""
    return [score_record(reading) for reading in readings(db, now, catalogue)]


def losses(
    db: sqlite3.Connection, framework: str, now: int, catalogue: Catalogue | None = None
) -> tuple[Loss, ...]:
    """Return what the score of a framework is short of, most first.

    Raises:
        FrameworkRejected: no framework has this name.
    """
    ours = catalogue or builtin_catalogue()
    schemes = {scheme.framework.framework: scheme for scheme in ours.schemes}
    if framework not in schemes:
        raise FrameworkRejected(f"no framework {framework}", hint=f"one of {', '.join(schemes)}")
    return explain(schemes[framework], _weigh(db, now, ours))


def not_before_evidence(db: sqlite3.Connection, moment: int) -> int:
    """Return the moment, or that of the newest batch: a clock set back makes nothing unseen."""
    return max(moment, tables.newest(db))


def _weigh(db: sqlite3.Connection, now: int, catalogue: Catalogue) -> Weighed:
    as_of = not_before_evidence(db, now)
    return weigh(catalogue, tables.population(db), tables.statements(db), as_of)
