"""Hosts with a package database: files, and dpkg's word on what they were."""

import hashlib
import os
from pathlib import Path

from agent.hostroot import HostRoot
from agent.sense.sensors.filepackages import PackageIndex, read_index

DPKG = "var/lib/dpkg"


class DpkgHost:
    """A host's root on which packages are unpacked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dpkg = root / DPKG
        for name in ("info", "updates"):
            (self.dpkg / name).mkdir(parents=True, exist_ok=True)
        (self.dpkg / "lock").touch()
        self._states: dict[str, str] = {}
        self._runs = 0

    def install(
        self,
        package: str,
        files: dict[str, bytes],
        *,
        conffiles: tuple[str, ...] = (),
        state: str = "installed",
    ) -> None:
        """Unpack files and write down their digests, as dpkg does in one run."""
        for name, data in files.items():
            self.write(name, data)
        self.list(package, files, conffiles=conffiles, state=state)

    def list(
        self,
        package: str,
        files: dict[str, bytes],
        *,
        conffiles: tuple[str, ...] = (),
        state: str = "installed",
    ) -> None:
        """Write down what a package's files are, whatever lies there."""
        lines = [f"{hashlib.md5(data).hexdigest()}  {name}\n" for name, data in files.items()]  # noqa: S324
        self._put(f"info/{package}.md5sums", "".join(lines))
        if conffiles:
            self._put(f"info/{package}.conffiles", "".join(f"/{name}\n" for name in conffiles))
        self._states[package.partition(":")[0]] = state
        self._runs += 1
        self._put(
            "status",
            "".join(
                f"Package: {name}\nStatus: install ok {word}\nVersion: {self._runs}\n\n"
                for name, word in self._states.items()
            ),
        )

    def divert(self, *lines: str) -> None:
        self._put("diversions", "".join(f"{line}\n" for line in lines))

    def write(self, name: str, data: bytes, mode: int = 0o755) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)

    def index(self) -> PackageIndex:
        """Read the whole database."""
        with HostRoot(self.root) as host:
            steps = read_index(host, lambda _: True)
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    found: PackageIndex = end.value
                    return found

    def _put(self, name: str, text: str) -> None:
        """Replace a file by a new one, so that nobody sees half of it."""
        new = self.dpkg / f"{name}-new"
        new.write_text(text, "utf-8")
        new.replace(self.dpkg / name)


def digest(data: bytes) -> bytes:
    """Return what dpkg keeps of a content."""
    return hashlib.md5(data).digest()  # noqa: S324


def link(root: Path, name: str, target: str) -> None:
    """Make a link."""
    os.symlink(target, root / name)  # noqa: PTH211
