"""Events that a destination refused, for people: list, show, send again, hand over.

Reading opens the file beside the running daemon. Sending again only marks the letters: the daemon
finds them, encodes their events anew from the ledger, and removes those that are taken.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from collector.forward.errors import NoSuchLetter
from collector.forward.store import SCHEMA, VERSION, ForwardReader, Letter
from collector.ledger.database import open_writer, transaction, translated

_PAGE = 500
_ENCODER = msgspec.json.Encoder()


class LetterView(Struct, frozen=True):
    """A dead letter as text: what ``dlq`` prints, one JSON object a letter."""

    id: int
    destination: str
    event_id: str
    kind: str
    position: int
    index: int
    at: int
    reason: str
    attempts: int
    redrive: bool
    size_bytes: int
    event: str | None = None


def ls(path: Path, destination: str) -> Iterator[LetterView]:
    """Yield a destination's letters, oldest first, without their events.

    Args:
        path: the tenant's forward.db.
        destination: its name.

    Raises:
        LedgerError: the file cannot be read now.
    """
    for letter in _letters(path, destination):
        yield _view(letter)


def export(path: Path, destination: str) -> Iterator[bytes]:
    """Yield a destination's letters with their events, each as a line of JSON.

    Raises:
        LedgerError: the file cannot be read now.
    """
    for letter in _letters(path, destination):
        yield _ENCODER.encode(_view(letter, whole=True)) + b"\n"


def show(path: Path, destination: str, id_: int) -> LetterView:
    """Return one letter with its event as it was refused.

    Raises:
        NoSuchLetter: the destination has no letter of this id.
        LedgerError: the file cannot be read now.
    """
    with ForwardReader(path) as reader:
        found = reader.letters(destination, id_ - 1, 1)
    if not found or found[0].id != id_:
        raise NoSuchLetter(f"{destination} has no letter {id_}", hint="see dlq ls")
    return _view(found[0], whole=True)


def redrive(path: Path, destination: str, ids: Sequence[int] | None = None) -> int:
    """Have letters sent again by the daemon; return how many.

    Args:
        path: the tenant's forward.db.
        destination: its name.
        ids: which letters; None for all.

    Raises:
        NoSuchLetter: the destination has no letter of one of these ids; nothing was changed.
        LedgerError: the file cannot be written now.
    """
    db = open_writer(path, SCHEMA, VERSION)
    try:
        with translated(path), transaction(db):
            mark = "UPDATE letters SET redrive = 1 WHERE destination = ?"
            if ids is None:
                return db.execute(mark, (destination,)).rowcount
            for id_ in ids:
                if not db.execute(f"{mark} AND id = ?", (destination, id_)).rowcount:
                    raise NoSuchLetter(f"{destination} has no letter {id_}", hint="see dlq ls")
            return len(ids)
    finally:
        db.close()


def _letters(path: Path, destination: str) -> Iterator[Letter]:
    with ForwardReader(path) as reader:
        last = 0
        while page := reader.letters(destination, last, _PAGE):
            yield from page
            last = page[-1].id


def _view(letter: Letter, *, whole: bool = False) -> LetterView:
    return LetterView(
        id=letter.id,
        destination=letter.destination,
        event_id=letter.uid,
        kind=letter.kind.value,
        position=letter.position,
        index=letter.index,
        at=letter.at,
        reason=letter.reason,
        attempts=letter.attempts,
        redrive=letter.redrive,
        size_bytes=len(letter.encoded),
        event=letter.encoded.decode("utf-8", "replace") if whole else None,
    )
