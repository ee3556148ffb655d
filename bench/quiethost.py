"""A host on which nothing happens, as large as the figures of an idle agent are stated for.

Processes that sleep, sockets that listen, files that lie: added to what the machine has already.
"""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

FILES_A_DIRECTORY = 256


class HostSize(Struct, frozen=True):
    """How much there is on the host."""

    processes: int = 430
    sockets: int = 200
    files: int = 58_000


@contextmanager
def a_quiet_host(size: HostSize, tree: Path) -> Iterator[None]:
    """Bring this host up to a size; afterwards everything that was added is gone.

    Args:
        size: how much there is to be; sockets are added in full.
        tree: a directory to fill with files, made here and left to its owner to remove.
    """
    with ExitStack() as added:
        for _ in range(size.processes - _processes()):
            child = subprocess.Popen(["sleep", "infinity"])
            added.callback(child.wait)
            added.callback(child.kill)
        for _ in range(size.sockets):
            listener = added.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
        _fill(tree, size.files)
        yield


def _processes() -> int:
    return sum(path.name.isdigit() for path in Path("/proc").iterdir())


def _fill(tree: Path, files: int) -> None:
    for first in range(0, files, FILES_A_DIRECTORY):
        directory = tree / str(first)
        directory.mkdir(parents=True)
        for number in range(first, min(files, first + FILES_A_DIRECTORY)):
            (directory / str(number)).write_bytes(b"%d" % number)
