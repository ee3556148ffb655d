"""Which keys have logged in as whom and who has used sudo before, so that a first time is noticed.

What is met while the baseline is being learned is not told. Digests alone are kept, few enough to
travel in a cursor: they are what a restart must not tell again. The baseline is measured in time
spent looking, so that no jump of a clock ends it.
"""

import hashlib
from typing import Annotated, Final

from msgspec import Meta, Struct

KNOWN_MAX: Final = 512
KEYS_PER_USER_MAX: Final = 64

_WHO_BYTES: Final = 4
_WHAT_BYTES: Final = 8
_ROW_BYTES: Final = _WHO_BYTES + _WHAT_BYTES
_CROWDED: Final = bytes(_WHAT_BYTES)


class KnownState(Struct, frozen=True, array_like=True):
    """What a restart has to know: what is left of the baseline, and rows of digests."""

    learning_ns: int = 0
    rows: Annotated[bytes, Meta(max_length=KNOWN_MAX * _ROW_BYTES)] = b""


class Known:
    """What is usual on this host.

    Args:
        baseline_ns: how long everything is taken for usual.
    """

    def __init__(self, baseline_ns: int) -> None:
        self._learning_ns = baseline_ns
        self._looked_at: int | None = None
        self._rows: dict[bytes, None] = {}
        self.forgotten = 0

    @property
    def learning_ns(self) -> int:
        """How much of the baseline is left; 0 once it is learned."""
        return self._learning_ns

    @property
    def crowded(self) -> int:
        """How many users have more keys than are compared."""
        return sum(row.endswith(_CROWDED) for row in self._rows)

    def tick(self, now: int) -> None:
        """Let the baseline get older.

        Args:
            now: boot-clock nanoseconds.
        """
        if self._looked_at is not None and self._learning_ns:
            self._learning_ns = max(0, self._learning_ns - max(0, now - self._looked_at))
        self._looked_at = now

    def is_new_key(self, user: str, fingerprint: str) -> bool:
        """Take note of a key that logged in and tell whether that is worth telling.

        Of a user with very many keys, such as one that everybody shares, none is.
        """
        who = _digest("key", user, _WHO_BYTES)
        if who + _CROWDED in self._rows:
            self._use(who + _CROWDED)
            return False
        is_new = self._is_new(who + _digest("fingerprint", fingerprint, _WHAT_BYTES))
        own = [row for row in self._rows if row.startswith(who)] if is_new else []
        if len(own) > KEYS_PER_USER_MAX:
            for row in own:
                del self._rows[row]
            self._use(who + _CROWDED)
        return is_new and not self._learning_ns

    def is_new_sudoer(self, user: str) -> bool:
        """Take note of a user of sudo and tell whether that is worth telling."""
        who = _digest("sudo", user, _WHO_BYTES)
        is_new = self._is_new(who + _digest("sudoer", user, _WHAT_BYTES))
        return is_new and not self._learning_ns

    def state(self) -> KnownState:
        """Return what a restart has to know."""
        return KnownState(self._learning_ns, b"".join(self._rows))

    def restore(self, state: KnownState) -> None:
        """Begin with what `state` returned."""
        rows = state.rows
        self._learning_ns = max(0, state.learning_ns)
        self._rows = {
            rows[at : at + _ROW_BYTES]: None
            for at in range(0, len(rows) - _ROW_BYTES + 1, _ROW_BYTES)
        }

    def _is_new(self, row: bytes) -> bool:
        is_new = row not in self._rows
        self._use(row)
        return is_new

    def _use(self, row: bytes) -> None:
        """Put a row last; what was not used for longest goes first."""
        self._rows.pop(row, None)
        self._rows[row] = None
        if len(self._rows) > KNOWN_MAX:
            del self._rows[next(iter(self._rows))]
            self.forgotten += 1


def _digest(kind: str, text: str, size: int) -> bytes:
    data = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=size).digest()
