"""The reader of the journal as a child: journalctl, its words over a pipe, nothing else of ours.

Its arguments are constant but for the place to begin at, which has one form. It reads on from that
place itself, so that its first entry tells whether the place is still there.
"""

import os
import re
import subprocess  # noqa: TID251  (a child of sense, of a constant argument vector)
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec import Struct

READ_BYTES: Final = 64 * 1024
CURSOR_CHARS_MAX: Final = 512

_SAID_BYTES_MAX: Final = 512
_SHOWN_CHARS_MAX: Final = 200
_PROGRAMS: Final = ("/usr/bin/journalctl", "/bin/journalctl")
_CURSOR: Final = re.compile(r"[a-z]=[0-9a-f]{1,32}(?:;[a-z]=[0-9a-f]{1,32}){1,15}", re.ASCII)


class Wanted(Struct, frozen=True):
    """What is to be read: from a cursor, or so many entries of history; in a directory or here."""

    fields: tuple[str, ...]
    cursor: str = ""
    history_entries: int = 0
    directory: str = ""


class Child(Protocol):
    """A process we started, with the reading ends of its two pipes."""

    @property
    def out(self) -> int:
        """Return the descriptor of what it writes."""
        ...

    @property
    def said(self) -> int:
        """Return the descriptor of its complaints."""
        ...

    def end(self) -> int:
        """Kill it where it still runs, close the pipes, and return how it ended."""
        ...


Spawn = Callable[[Sequence[str]], Child]


class _Process:
    """A child of `subprocess`."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
            close_fds=True,
            start_new_session=True,
            bufsize=0,
        )
        self._ended: int | None = None
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)

    @property
    def out(self) -> int:
        return self._process.stdout.fileno() if self._process.stdout else -1

    @property
    def said(self) -> int:
        return self._process.stderr.fileno() if self._process.stderr else -1

    def end(self) -> int:
        if self._ended is None:
            status = self._process.poll()
            if status is None:
                self._process.kill()
            self._ended = self._process.wait() if status is None else status
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()
        return self._ended


def spawn_child(arguments: Sequence[str]) -> Child:
    """Start the reader.

    Sensing has given up its ambient capabilities before its first child, so this one has none.

    Raises:
        OSError: it cannot be started.
    """
    return _Process(arguments)


def arguments_of(program: str, wanted: Wanted) -> list[str]:
    """Return the argument vector.

    Args:
        program: path of journalctl.
        wanted: what is to be read; a cursor that is none is left out.
    """
    arguments = [
        program,
        "--follow",
        "--no-pager",
        "--all",
        "--boot=all",
        "--output=export",
        f"--output-fields={','.join(wanted.fields)}",
    ]
    if wanted.directory:
        arguments.append(f"--directory={wanted.directory}")
    if is_cursor(wanted.cursor):
        return [*arguments, "--no-tail", f"--cursor={wanted.cursor}"]
    return [*arguments, f"--lines={wanted.history_entries}"]


def is_cursor(text: str) -> bool:
    """Tell whether a text has the form of a cursor of the journal."""
    return len(text) <= CURSOR_CHARS_MAX and _CURSOR.fullmatch(text) is not None


def program() -> str:
    """Return the path of the reader that this system has, or nothing."""
    return next((path for path in _PROGRAMS if os.access(path, os.X_OK)), "")


class JournalChild:
    """One run of the reader.

    Args:
        arguments: from `arguments_of`.
        spawn: starts it.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, arguments: Sequence[str], spawn: Spawn = spawn_child) -> None:
        self._child = spawn(arguments)
        self._said = b""
        self._is_silent = False  # it has closed that end, which would be readable for ever
        self.has_ended = False

    def descriptors(self) -> tuple[int, ...]:
        """Return what to watch for reading."""
        if self.has_ended:
            return ()
        return (self._child.out,) if self._is_silent else (self._child.out, self._child.said)

    @property
    def complaint(self) -> str:
        """Return the end of what it complained of."""
        return " ".join(self._said.decode("utf-8", "backslashreplace").split())[-_SHOWN_CHARS_MAX:]

    def read(self) -> bytes:
        """Return what it has written, at most `READ_BYTES`; `has_ended` tells when that was all."""
        self._listen()
        try:
            data = os.read(self._child.out, READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._listen()
            self.has_ended = True
        return data

    def end(self) -> str:
        """End it and return, in a clause, how it ended and what it complained of last."""
        self.has_ended = True
        status = self._child.end()
        said = f", saying: {self.complaint}" if self.complaint else ""
        return f"the reader of the journal ended with status {status}{said}"

    def _listen(self) -> None:
        """Read its complaints, so that it never waits for us to, and keep the last."""
        try:
            while data := os.read(self._child.said, READ_BYTES):
                self._said = (self._said + data)[-_SAID_BYTES_MAX:]
        except BlockingIOError:
            return
        except OSError:
            pass
        self._is_silent = True
