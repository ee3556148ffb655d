"""Hosts to sense: golden trees under tests/data/hosts, and small ones built on the spot."""

import json
import os
import shutil
import socket
import struct
from pathlib import Path

GOLDEN = Path(__file__).parents[3] / "data" / "hosts"


def a_golden_host(name: str, folder: Path) -> Path:
    """Copy a golden tree and make its links, which may lead anywhere or nowhere."""
    root = folder / name
    shutil.copytree(GOLDEN / name, root)
    for place, target in json.loads((root / "links.json").read_text()).items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).symlink_to(target)
    # One network: the same files, whichever process they are reached through.
    (root / "proc/812/net/dev").unlink()
    os.link(root / "proc/1/net/dev", root / "proc/812/net/dev")
    return root


def a_process_dir(root: Path, pid: int, **files: str | bytes) -> Path:
    """Write files of one process into a /proc; ``stat`` has a default."""
    here = root / "proc" / str(pid)
    here.mkdir(parents=True, exist_ok=True)
    for name, data in ({"stat": a_stat(pid)} | files).items():
        (here / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return here


def a_stat(
    pid: int, name: str = "x", *, ppid: int = 1, session: int = 1, flags: int = 0, start: int = 100
) -> str:
    head = f"{pid} ({name}) S {ppid} {pid} {session} 0 -1 {flags}"
    return f"{head}{' 0' * 12} {start} 0 0\n"


def come_and_go(listener: socket.socket) -> None:
    """Connect, and break off: nothing lingers, of which a kernel keeps only so many."""
    with socket.create_connection(listener.getsockname()) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted, _ = listener.accept()
    accepted.close()
