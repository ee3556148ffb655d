"""Follows the header log of a running agent: what it sealed, and what was receipted."""

from pathlib import Path

from msgspec import Struct

from agent.sense.headers import Committed, Note, Receipted, decode_notes


class Head(Struct, frozen=True):
    """The newest batch sealed, and the epochs there were until then."""

    epoch: bytes
    seq: int
    epochs: frozenset[bytes]


class OutboxLog:
    """Reads on from where it stopped.

    Args:
        path: the header log; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._epochs: set[bytes] = set()
        self._newest = (b"", 0)
        self.commits = 0
        # For each epoch the highest sequence number with a receipt.
        self.receipted: dict[bytes, int] = {}

    def catch_up(self) -> None:
        """Take in what was noted since the last look."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return
        begun = self._at
        for _, end, note in decode_notes(data):
            self._take(note)
            self._at = begun + end

    @property
    def head(self) -> Head:
        """The newest batch sealed."""
        return Head(*self._newest, frozenset(self._epochs))

    def has_receipt_beyond(self, head: Head) -> bool:
        """Return whether a batch sealed after ``head`` has a receipt."""
        return any(
            seq > head.seq if epoch == head.epoch else epoch not in head.epochs
            for epoch, seq in self.receipted.items()
        )

    def _take(self, note: Note) -> None:
        if isinstance(note, Committed) and note.batches:
            self.commits += 1
            self._epochs.update(batch.epoch for batch in note.batches)
            last = note.batches[-1]
            self._newest = (last.epoch, max(batch.seq for batch in note.batches))
        elif isinstance(note, Receipted):
            highest = max(note.seq, *note.ahead, self.receipted.get(note.epoch, 0))
            self.receipted[note.epoch] = highest
