"""Things that happen on a host, numbered so that each of them can be found again."""

import ipaddress
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from tests.e2e.site import EICAR

TICK_S = 0.02
FIRST_ADDRESS = int(ipaddress.IPv4Address("10.0.0.0"))
ROTATIONS_KEPT = 6


def address_of(number: int) -> str:
    """Return the address that a numbered login comes from."""
    return str(ipaddress.IPv4Address(FIRST_ADDRESS + number))


def number_of(address: str) -> int:
    """Return the number of a login by its address."""
    return int(ipaddress.IPv4Address(address)) - FIRST_ADDRESS


class Load:
    """Writes failed logins to a log and files into a tree, until stopped.

    Args:
        log: as sshd would write it.
        tree: where files are made.
        lines_per_s: logins.
        files_per_s: files.
    """

    def __init__(
        self, log: Path, tree: Path, *, lines_per_s: float = 200, files_per_s: float = 5
    ) -> None:
        self._log = log
        self._tree = tree
        self._lines_per_s = lines_per_s
        self._files_per_s = files_per_s
        self._lock = threading.Lock()
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self.lines = 0
        self.files = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._is_ending.wait(TICK_S):
            passed = time.monotonic() - began
            with self._lock:
                self.write_logins(int(passed * self._lines_per_s) - self.lines)
                self.write_files(int(passed * self._files_per_s) - self.files)

    def write_logins(self, count: int) -> None:
        """Append numbered failed logins, as sshd would."""
        stamp = datetime.now(UTC).isoformat(timespec="microseconds")
        lines = "".join(
            f"{stamp} host sshd[{number % 30_000 + 1}]: Failed password for invalid user admin"
            f" from {address_of(number)} port {number % 60_000 + 1024} ssh2\n"
            for number in range(self.lines, self.lines + count)
        )
        with self._log.open("a") as file:
            file.write(lines)
        self.lines += count

    def write_files(self, count: int) -> None:
        """Put numbered files that the intel knows into the tree."""
        for number in range(self.files, self.files + count):
            (self._tree / f"{number}.pdf.exe").write_bytes(EICAR)
        self.files += count

    def rotate(self) -> None:
        """Rename the log, as logrotate does, and go on in a new one."""
        with self._lock:
            for number in range(ROTATIONS_KEPT, 0, -1):
                older = self._log.with_name(f"{self._log.name}.{number}")
                if older.exists():
                    older.rename(self._log.with_name(f"{self._log.name}.{number + 1}"))
            self._log.rename(self._log.with_name(f"{self._log.name}.1"))
            self._log.touch()
