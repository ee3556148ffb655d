"""A journal in a directory, and a program that reads it as journalctl does."""

import json
import struct
import sys
from pathlib import Path

# Reads `entries`, one JSON object a line with a `__CURSOR` each, and follows it. What is vacuumed
# is gone from the file; a `stop` file ends it with that status; `junk` is written as it is.
PROGRAM = """\
#!{python} -S
import json, os, struct, sys, time

here = {here!r}
options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
wanted = set(options["output-fields"].split(",")) | {{"__CURSOR", "__REALTIME_TIMESTAMP"}}
with open(here + "/runs", "a") as runs:
    runs.write(json.dumps(sys.argv[1:]) + "\\n")


def entries():
    with open(here + "/entries", "rb") as file:
        return [json.loads(line) for line in file.read().split(b"\\n")[:-1]]


def write(entry):
    out = b""
    for name, text in entry.items():
        if name not in wanted:
            continue
        data = text.encode("latin-1")
        if all(31 < byte < 127 for byte in data):
            out += name.encode() + b"=" + data + b"\\n"
        else:
            out += name.encode() + b"\\n" + struct.pack("<Q", len(data)) + data + b"\\n"
    sys.stdout.buffer.write(out + b"\\n")
    sys.stdout.buffer.flush()


def place(entry):
    return int(entry["__CURSOR"].split("i=")[1].split(";")[0], 16)


if os.path.exists(here + "/complaint"):
    sys.stderr.write(open(here + "/complaint").read())
    sys.stderr.flush()
at = 0
if "cursor" in options:
    at = place({{"__CURSOR": options["cursor"]}})
else:
    known = entries()
    count = int(options["lines"])
    at = place(known[-count]) if count and len(known) >= count else 0
    if not count:
        at = place(known[-1]) + 1 if known else 0
while True:
    if os.path.exists(here + "/junk"):
        sys.stdout.buffer.write(open(here + "/junk", "rb").read())
        sys.stdout.buffer.flush()
        os.unlink(here + "/junk")
    for entry in entries():
        if place(entry) >= at:
            write(entry)
            at = place(entry) + 1
    if os.path.exists(here + "/stop"):
        sys.exit(int(open(here + "/stop").read()))
    time.sleep(0.005)
"""


class FakeJournal:
    """A journal that is written, vacuumed, broken; ``program`` reads it.

    Args:
        home: an empty directory.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.entries: list[dict[str, str]] = []
        self.count = 0
        self.program = home / "journalctl"
        self.program.write_text(PROGRAM.format(python=sys.executable, here=str(home)), "ascii")
        self.program.chmod(0o755)
        self._store()

    def write(self, message: str, program: str = "sshd", **fields: str) -> str:
        """Add an entry of a program of root and return its cursor."""
        self.count += 1
        cursor = f"s={'a' * 32};i={self.count:x};b={'b' * 32};m={self.count:x};t=1;x=1"
        entry = {
            "__CURSOR": cursor,
            "__REALTIME_TIMESTAMP": str(1_790_000_000_000_000 + self.count),
            "_UID": "0",
            "SYSLOG_IDENTIFIER": program,
            "MESSAGE": message,
        }
        self.entries.append(entry | fields)
        self._store()
        return cursor

    def vacuum(self, count: int) -> None:
        """Forget the oldest entries."""
        del self.entries[:count]
        self._store()

    def stop(self, status: int) -> None:
        """Let the program end, now and whenever it is started."""
        partial = self.home / "stop.partial"
        partial.write_text(str(status))
        partial.rename(self.home / "stop")

    def mend(self) -> None:
        (self.home / "stop").unlink()

    def complain(self, text: str) -> None:
        """Let the program say something on standard error when it starts."""
        (self.home / "complaint").write_text(text, "utf-8")

    def utter(self, junk: bytes) -> None:
        """Let the program write bytes that are no entry."""
        partial = self.home / "junk.partial"
        partial.write_bytes(junk)
        partial.rename(self.home / "junk")

    def runs(self) -> list[list[str]]:
        """Return the arguments of each start."""
        path = self.home / "runs"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _store(self) -> None:
        partial = self.home / "entries.partial"
        partial.write_text("".join(json.dumps(entry) + "\n" for entry in self.entries), "ascii")
        partial.rename(self.home / "entries")


def exported(fields: dict[str, bytes], *, binary: bool = False) -> bytes:
    """Return an entry in the export format, its fields as text or as binary data."""
    out = b""
    for name, data in fields.items():
        if binary or b"\n" in data:
            out += name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
        else:
            out += name.encode() + b"=" + data + b"\n"
    return out + b"\n"
