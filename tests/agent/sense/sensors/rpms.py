"""Headers and databases as rpm writes them."""

import sqlite3
import struct
from collections.abc import Sequence
from pathlib import Path

STRING, INT32, I18N, STRINGS = 6, 4, 9, 8


def a_header(
    name: str,
    version: str,
    release: str,
    *,
    arch: str = "x86_64",
    epoch: int | None = None,
    files: int = 0,
) -> bytes:
    """A header as it lies in the database: no magic, tags in order, an immutable region first."""
    values: list[tuple[int, int, bytes]] = [
        (63, 7, bytes(16)),
        (1000, STRING, name.encode() + b"\0"),
        (1001, STRING, version.encode() + b"\0"),
        (1002, STRING, release.encode() + b"\0"),
    ]
    if epoch is not None:
        values.append((1003, INT32, struct.pack(">I", epoch)))
    values.append((1004, I18N, b"a summary\0"))
    if arch:
        values.append((1022, STRING, arch.encode() + b"\0"))
    if files:
        values.append((1117, STRINGS, b"".join(b"file%d\0" % n for n in range(files))))
    index, store = b"", b""
    for tag, kind, data in values:
        if kind == INT32:
            store += bytes(-len(store) % 4)
        count = files if kind == STRINGS else 16 if kind == 7 else 1
        index += struct.pack(">IIiI", tag, kind, len(store), count)
        store += data
    return struct.pack(">II", len(values), len(store)) + index + store


def a_database(path: Path, headers: Sequence[bytes], *, page_bytes: int = 4096) -> None:
    """A database of rpm's form; committed and closed."""
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA page_size = {page_bytes}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    db.execute("CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL)")
    db.executemany("INSERT INTO Packages (blob) VALUES (?)", [(header,) for header in headers])
    db.commit()
    db.close()
