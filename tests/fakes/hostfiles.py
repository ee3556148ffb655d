"""A host's file tree in memory: modes, owners, and every way of not being readable."""

import errno
import os
import stat
from collections.abc import Callable, Iterator

from msgspec import Struct, structs

from agent.hostroot import (
    HostFileError,
    HostFileMissing,
    HostFileNotRegular,
    HostFileTooLarge,
)


class Node(Struct, frozen=True):
    """A file, or a directory where ``data`` is None; ``refuse`` is raised when it is read."""

    data: bytes | None
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    kind: int = stat.S_IFREG
    refuse: type[HostFileError] | None = None


class Entry(Struct, frozen=True):
    name: str


class FakeHostFiles:
    """What `agent.hostroot.HostRoot` shows of a host; ``on_look`` is called before every answer."""

    def __init__(self, on_look: Callable[[str], None] = lambda path: None) -> None:
        self.nodes: dict[str, Node] = {}
        self.on_look = on_look
        self.looks: list[str] = []

    def add(self, path: str, text: str | bytes = b"", **how: int) -> "FakeHostFiles":
        data = text.encode() if isinstance(text, str) else text
        self._directories(path)
        self.nodes[path] = Node(data, **how)  # type: ignore[arg-type]
        return self

    def add_directory(self, path: str) -> "FakeHostFiles":
        self._directories(f"{path}/x")
        return self

    def change(self, path: str, **how: object) -> "FakeHostFiles":
        self.nodes[path] = structs.replace(self.nodes[path], **how)
        return self

    def refuse_all(self, error: type[HostFileError]) -> "FakeHostFiles":
        for path in self.nodes:
            self.change(path, refuse=error)
        return self

    def truncate_all(self, keep: Callable[[bytes], bytes] = lambda data: b"") -> "FakeHostFiles":
        for path, node in self.nodes.items():
            if node.data is not None:
                self.change(path, data=keep(node.data))
        return self

    def read_bytes(self, path: str, size_bytes_max: int) -> bytes:
        node = self._node(path)
        if node.data is None or node.kind != stat.S_IFREG:
            raise HostFileNotRegular(path, "is not a regular file", errno.EISDIR)
        if len(node.data) > size_bytes_max:
            raise HostFileTooLarge(path, f"is larger than {size_bytes_max} bytes")
        return node.data

    def stat(self, path: str, *, follow: bool = True) -> os.stat_result:
        node = self._node(path)
        kind = stat.S_IFDIR if node.data is None else node.kind
        size = len(node.data or b"")
        return os.stat_result((kind | node.mode, 1, 1, 1, node.uid, node.gid, size, 0, 0, 0))

    def scandir(self, path: str) -> Iterator[Entry]:
        node = self._node(path)
        if node.data is not None:
            raise HostFileMissing(path, "is no directory", errno.ENOTDIR)
        under = path.rstrip("/") + "/"
        names = {name[len(under) :].partition("/")[0] for name in self.nodes if name != "/"}
        for name in sorted(names, reverse=True):
            if name and f"{under}{name}" in self.nodes:
                yield Entry(name)

    def _node(self, path: str) -> Node:
        self.looks.append(path)
        self.on_look(path)
        node = self.nodes.get(path)
        if node is None:
            raise HostFileMissing(path, "no such file or directory", errno.ENOENT)
        if node.refuse is not None:
            raise node.refuse(path, "refused", errno.EACCES)
        return node

    def _directories(self, path: str) -> None:
        parts = path.split("/")
        for end in range(1, len(parts)):
            name = "/".join(parts[:end]) or "/"
            self.nodes.setdefault(name, Node(None, 0o755))
