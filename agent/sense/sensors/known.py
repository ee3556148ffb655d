"""How much of each exec became known: what a rung delivers, counted and not assumed."""

from msgspec import UNSET, Struct

from proto.model import Process


class Known(Struct):
    """Execs told since the start, and of how many there were arguments, a parent and a digest."""

    execs: int = 0
    argv: int = 0
    parent: int = 0
    hash: int = 0

    def count(self, process: Process, *, has_parent: bool) -> None:
        """Count one exec as it is told."""
        self.execs += 1
        self.argv += bool(process.argv)
        self.parent += has_parent
        self.hash += process.sha256 is not UNSET and process.sha256 is not None

    def percents(self) -> dict[str, float]:
        """Return the parts in percent by the names they are published under; nothing for none."""
        if not self.execs:
            return {}
        return {
            f"{name}_known_percent": 100 * value / self.execs
            for name, value in (("argv", self.argv), ("parent", self.parent), ("hash", self.hash))
        }

    def text(self) -> str:
        """Return them for people."""
        if not self.execs:
            return "no exec yet"
        return ", ".join(
            f"{name.partition('_')[0]} of {value:.1f} %" for name, value in self.percents().items()
        )
