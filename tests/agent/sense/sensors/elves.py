"""Programs, loaders and scripts as files, made of as little as the kernel would look at."""

import os
import struct
from pathlib import Path


def an_elf(
    *, bits: int = 64, order: str = "<", kind: int = 3, loader: bytes = b"", tail: bytes = b""
) -> bytes:
    """Return a program header table that names a loader, or none."""
    wide = bits == 64
    layout = order + ("HHIQQQIHHH" if wide else "HHIIIIIHHH")
    head = struct.calcsize(layout) + 16
    entry = 56 if wide else 32
    after = head + 6 + 2 * entry
    header = struct.pack(layout, kind, 62, 1, 0, head + 6, 0, 0, head, entry, 2)
    load = struct.pack(order + "I", 1) + bytes(entry - 4)
    where = struct.pack(
        order + ("IIQQQQQQ" if wide else "IIIIIIII"),
        *((3, 4, after, 0, 0, len(loader)) if wide else (3, after, 0, 0, len(loader), 0)),
        *(0, 0),
    )
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2]) + bytes(10)
    return ident + header + bytes(6) + load + (where if loader else load) + loader + tail


class Programs:
    """A folder of programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.true = self.add("true", an_elf(loader=b"/lib/ld.so\0", tail=b"true"))
        self.id = self.add("id", an_elf(loader=b"/lib/ld.so\0", tail=b"id"))
        self.static = self.add("static", an_elf(kind=2))
        self.static_pie = self.add("static-pie", an_elf(kind=3, tail=b"pie"))
        self.loader = self.add("ld-linux-x86-64.so.2", an_elf(kind=3, tail=b"ld"))
        self.script = self.add("script", b"#!/bin/sh\n")

    def add(self, name: str, data: bytes) -> Path:
        """Write a program."""
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o755)
        return path


def open_descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(os.scandir("/proc/self/fd")))
