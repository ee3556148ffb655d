"""Containers that run now, from the names of the host's control groups.

Docker, containerd, CRI-O and podman name a group after the 64 hex digits of a container, LXC and
nspawn after its name; `cgroups` says how. What only a runtime knows, such as the image, is not
collected: its socket is worth as much as root. A container without a process is not running.

Source: cgroups(7); version 2, version 1 and both together.
"""

import re
from collections.abc import Generator, Iterator
from typing import Final

from msgspec import UNSET, structs

from agent.hostroot import HostFileError, HostFileMissing, HostRoot
from agent.sense.sensors.cgroups import parse_cgroup
from agent.sense.sensors.listings import Listed, Look, Thing, Things, Unread, key_of
from agent.sense.sensors.procfs import ProcError
from agent.sense.sensors.replacewatch import ReplaceWatch
from proto.model import Container

ROOT: Final = "/sys/fs/cgroup"
# Hierarchies of version 1 in which every container has a group.
HIERARCHIES: Final = ("unified", "systemd", "pids", "memory")
GROUPS_MAX: Final = 8192
DEPTH_MAX: Final = 24
CONTAINERS_MAX: Final = 2000
PROCS_BYTES_MAX: Final = 4 << 20

_PROCS: Final = "cgroup.procs"
# Every group of version 2 has it but the very first.
_EVENTS: Final = "cgroup.events"
_RUNTIMES: Final = (
    (re.compile(r"(?:^|/)docker(?:-|/)[0-9a-f]{64}"), "docker"),
    (re.compile(r"(?:^|/)(?:cri-containerd-|[^/]*:cri-containerd:)[0-9a-f]{64}"), "containerd"),
    (re.compile(r"(?:^|/)crio-[0-9a-f]{64}"), "cri-o"),
    (re.compile(r"(?:^|/)libpod-[0-9a-f]{64}"), "podman"),
    (re.compile(r"(?:^|/)(?:lxc\.payload\.|lxc/)"), "lxc"),
    (re.compile(r"(?:^|/)machine-"), "systemd-nspawn"),
    (re.compile(r"(?:^|/)kubepods"), "kubernetes"),
)
_HEX_ID: Final = re.compile(r"[0-9a-f]{64}")
# A runtime's own helper beside a container, and a virtual machine.
_NO_CONTAINER: Final = re.compile(r"(?:-conmon-|/machine-qemu\\x2d)")


class ContainerListing:
    """The containers of a host.

    Args:
        host: the only way to the control groups.
        interval_s: how often to look.
    """

    name = "containers"
    coverage = "containers with a control group of their own"
    watch: ReplaceWatch | None = None

    def __init__(self, host: HostRoot, interval_s: int) -> None:
        self.interval_s = interval_s
        self._host = host
        self._newest: Things = {}

    def look(self) -> Look:
        """Return that only reading tells.

        Raises:
            Unread: no control groups are to be seen.
        """
        self._roots()
        return Look(b"")

    def read(self) -> Generator[None, None, Listed]:
        """Walk the groups, one a step.

        Raises:
            Unread: there are more than are held.
        """
        found: dict[str, Container] = {}
        problem = ""
        for root in self._roots():
            if self._is_there(f"{root}/{_EVENTS}"):
                problem = f"{root}: a part of the host's control groups alone"
            seen: dict[str, Container] = {}
            for path in self._groups(root):
                yield
                if (one := container_of(path)) is None:
                    continue
                try:
                    count = self._processes(f"{root}{path}")
                except HostFileMissing:
                    continue  # gone meanwhile
                except HostFileError as error:
                    problem = problem or error.message
                    continue
                known = seen.get(one.id, one)
                seen[one.id] = structs.replace(known, processes=known.processes + count)
            # The hierarchies of version 1 show the same containers.
            found = seen | found
            if len(found) > CONTAINERS_MAX:
                raise Unread(f"more than {CONTAINERS_MAX} containers")
        things: Things = {key_of(one.id): one for one in found.values() if one.processes}
        self._newest = things
        return Listed(things, problem=problem)

    def is_same(self, before: Thing, now: Thing) -> bool:
        """Return whether they differ by the number of processes alone."""
        if not (isinstance(before, Container) and isinstance(now, Container)):
            return False
        return structs.replace(before, processes=now.processes) == now

    def fresh(self, thing: Thing) -> Thing:
        """Return the container with the number of processes it had last."""
        return self._newest.get(key_of(thing.id), thing) if isinstance(thing, Container) else thing

    def _roots(self) -> list[str]:
        if self._is_there(f"{ROOT}/{_PROCS}"):
            return [ROOT]
        roots = [f"{ROOT}/{name}" for name in HIERARCHIES]
        found = [root for root in roots if self._is_there(f"{root}/{_PROCS}")]
        if not found:
            raise Unread(f"{ROOT}: no control groups", is_absent=True)
        return found

    def _is_there(self, path: str) -> bool:
        try:
            self._host.stat(path)
        except HostFileMissing:
            return False
        except HostFileError as error:
            raise Unread(error.message) from error
        return True

    def _groups(self, root: str) -> Iterator[str]:
        """Yield the groups below a root that may belong to a container, outer before inner."""
        stack = [("", 0)]
        seen = 0
        while stack:
            path, depth = stack.pop()
            seen += 1
            if seen > GROUPS_MAX:
                raise Unread(f"more than {GROUPS_MAX} control groups")
            try:
                names = sorted(e.name for e in self._host.scandir(f"{root}{path}") if e.is_dir())
            except (HostFileError, OSError):
                continue  # gone meanwhile, or closed: what is in it cannot be told
            if depth < DEPTH_MAX:
                stack += [(f"{path}/{name}", depth + 1) for name in reversed(names)]
            yield path

    def _processes(self, path: str) -> int:
        return self._host.read_bytes(f"{path}/{_PROCS}", PROCS_BYTES_MAX).count(b"\n")


def container_of(path: str) -> Container | None:
    """Return the innermost container that the path of a control group names."""
    if _NO_CONTAINER.search(path):
        return None
    try:
        belongs = parse_cgroup(b"0::/" + path.encode("utf-8", "surrogateescape").lstrip(b"/"))
    except ProcError:
        return None
    if belongs.container is None:
        return None
    runtimes = (
        (found[-1].end(), name)
        for pattern, name in _RUNTIMES
        if (found := list(pattern.finditer(path)))
    )
    # The innermost container was made by whoever is named last.
    runtime = max(runtimes, default=(0, "unknown"))[1]
    is_named = not _HEX_ID.match(belongs.container)
    return Container(
        id=belongs.container,
        runtime=runtime,
        name=belongs.container if is_named else UNSET,
        unit=belongs.unit,
    )
