"""What another source tells of an exec: the arguments, above all, which /proc forgets too soon.

Who listens to such a source (the kernel's audit records) implements `ArgvSource`; the process
sensor asks it and joins what it says to the exec of the same process.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class ExecRecord(Struct, frozen=True):
    """One execve(2) as a source told it; what it did not tell is None.

    ``pid`` and ``ppid`` are numbers of the first pid namespace; ``wall_ns`` is the source's own
    time of it, exact to a millisecond at best; ``argv`` ends in `agent.hosttext.CUT` where there
    was more. ``auid`` is the user who logged in, None where nobody did. ``tty`` is a name below
    /dev, None for none. ``success`` is whether the call replaced the image.
    """

    pid: int
    ppid: int | None
    serial: int
    wall_ns: int
    argv: tuple[str, ...]
    exe: str | None = None
    cwd: str | None = None
    uid: int | None = None
    euid: int | None = None
    auid: int | None = None
    session: int | None = None
    tty: str | None = None
    success: bool = True


class ArgvSource(Protocol):
    """An open source of exec records; it never blocks."""

    @property
    def losses(self) -> int:
        """How many times records were lost since it was opened; it only grows."""
        ...

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something; -1 once closed."""
        ...

    def receive(self, records_max: int) -> Sequence[ExecRecord]:
        """Return complete records, oldest first, without waiting; none when nothing is complete.

        Args:
            records_max: how many at most; what is left over keeps the descriptor readable.
        """
        ...

    def close(self) -> None:
        """Let go of it; harmless when repeated."""
        ...
