"""One look at a socket table: which keys were known, which are news, and what is over a limit."""

from agent.sense.sensors.sockrow import SocketRow


class Sweep:
    """Compares a table with the one before it.

    A new key that finds no room among ``new`` is left for the next sweep, where it is new again; a
    key beyond the limit of all is not looked at, and counted.

    Args:
        known: the keys of the sweep before.
        keys_max: how many sockets are followed.
        new_max: how many are told at once.
    """

    def __init__(self, known: set[bytes], *, keys_max: int, new_max: int) -> None:
        self.known = known
        self.now: set[bytes] = set()
        self.new: list[SocketRow] = []
        self.listening: dict[bytes, SocketRow] = {}
        self.has_more = False
        self.omitted = 0
        self._keys_max = keys_max
        self._new_max = new_max

    def is_news(self, key: bytes) -> bool:
        """Note a key; return whether its row is wanted."""
        now = self.now
        if key in self.known:
            now.add(key)
            return False
        if key in now:
            return False
        if len(now) >= self._keys_max:
            self.omitted += 1
            return False
        if len(self.new) >= self._new_max:
            self.has_more = True
            return False
        now.add(key)
        return True

    def tell(self, key: bytes, row: SocketRow) -> None:
        """Note the row of a key that is news."""
        self.new.append(row)
        if row.is_listening:
            self.listening[key] = row

    def keep_all_known(self) -> None:
        """Note that the table was torn: what was not in it may still be there."""
        self.now |= self.known
