"""Canaries: harmless things done on purpose, to see whether a sensor sees them.

A canary is a row of the table `CANARIES`, by the name of its sensor: how the sensor is set up for
it, and steps that each do one thing and know its echo. A sensor without a row is judged by its
first look alone. Whatever a canary makes is gone when it is closed.
"""

import os
import secrets
import shutil
import socket
import subprocess  # noqa: TID251  (constant argument vectors: a sleep, and a shell that writes a file)
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

from msgspec import Struct, structs

from agent.sense.ports import Sighting
from agent.sense.sensors.filetrees import Tree
from agent.sense.sensors.logs import LogFileSettings
from proto.model import (
    Endpoint,
    File,
    Login,
    LogLine,
    Observation,
    ObservationKind,
    Package,
    Persistence,
    Process,
    User,
)
from runtime.clock import NS_PER_S, SystemClock

LIVES_S: Final = 60
_LISTEN: Final = ObservationKind.SOCKET_LISTEN


class Step(Struct, frozen=True):
    """One thing done, and how to know it again.

    Args:
        what: in words, for whoever reads that it was not seen.
        fire: does it; raises OSError where it cannot be done.
        is_echo: whether a sighting is of it.
    """

    what: str
    fire: Callable[[], object]
    is_echo: Callable[[Sighting], bool]


class Canary(Protocol):
    """What is done for one sensor."""

    # The section the sensor runs with, and the host root; None for the host itself.
    section: Any
    root: Path | None

    def steps(self) -> Sequence[Step]:
        """Return what to do, in this order."""
        ...

    def close(self) -> None:
        """Undo what is left."""
        ...


# Takes the sensor's own section, and an empty directory to do it in.
CanaryFactory = Callable[[Any, Path], Canary]


class _ProcessCanary:
    """A command that sleeps, under an argument nobody else has."""

    root: Path | None = None

    def __init__(self, section: Any, scratch: Path) -> None:  # noqa: ANN401
        del scratch
        self.section = structs.replace(section, reconcile_interval_s=5)
        self._mark = f"{LIVES_S}.{secrets.randbelow(10**9):09}"
        self._child: subprocess.Popen[bytes] | None = None

    def steps(self) -> Sequence[Step]:
        return (Step("a process", self._spawn, self._is_it),)

    def _spawn(self) -> None:
        program = shutil.which("sleep")
        words = (
            [program]
            if program is not None
            else [sys.executable, "-c", "import sys, time; time.sleep(float(sys.argv[1]))"]
        )
        self._child = subprocess.Popen([*words, self._mark])

    def _is_it(self, sighting: Sighting) -> bool:
        thing = _thing(sighting)
        if not isinstance(thing, Process) or self._child is None:
            return False
        # In another pid namespace the number differs, and the arguments do not.
        return self._mark in thing.argv or thing.pid == self._child.pid

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()


class _SocketCanary:
    """A listening port on loopback, and a connection to it."""

    root: Path | None = None

    def __init__(self, section: Any, scratch: Path) -> None:  # noqa: ANN401
        del scratch
        self.section = structs.replace(section, interval_s=1)
        self._open: list[socket.socket] = []
        self._port = -1

    def steps(self) -> Sequence[Step]:
        return (
            Step("a listening port", self._listen, lambda s: self._is_it(s, is_listening=True)),
            Step("a connection", self._connect, lambda s: self._is_it(s, is_listening=False)),
        )

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self._open.append(listener)
        self._port = listener.getsockname()[1]

    def _connect(self) -> None:
        self._open.append(socket.create_connection(("127.0.0.1", self._port), timeout=1))

    def _is_it(self, sighting: Sighting, *, is_listening: bool) -> bool:
        thing = _thing(sighting)
        if not isinstance(thing, Endpoint) or not isinstance(sighting, Observation):
            return False
        if (sighting.kind is _LISTEN) is not is_listening:
            return False
        return self._port in {thing.local_port, thing.remote_port}

    def close(self) -> None:
        for item in self._open:
            item.close()


class _FileCanary:
    """A file made, changed and removed, by another process than this one."""

    def __init__(self, section: Any, scratch: Path) -> None:  # noqa: ANN401
        tree = scratch / "watched"
        tree.mkdir()
        self.root: Path | None = scratch
        self.section = structs.replace(section, trees=(Tree("/watched"),), sweep_interval_s=5)
        self._file = tree / f"canary-{secrets.token_hex(4)}"

    def steps(self) -> Sequence[Step]:
        return (
            self._step("a new file", 'echo one >"$1"', ObservationKind.FILE_CREATED),
            self._step("a changed file", 'echo two >>"$1"', ObservationKind.FILE_CHANGED),
            self._step("a removed file", 'rm "$1"', ObservationKind.FILE_REMOVED),
        )

    def _step(self, what: str, script: str, kind: ObservationKind) -> Step:
        def fire() -> None:
            # Our own writes may be left out by the sensor, and rightly so.
            words = ["/bin/sh", "-c", script, "sh", str(self._file)]
            subprocess.run(words, check=False, timeout=5)

        def is_echo(sighting: Sighting) -> bool:
            thing = _thing(sighting)
            if not isinstance(sighting, Observation) or not isinstance(thing, File):
                return False
            return sighting.kind is kind and thing.path.endswith(f"/{self._file.name}")

        return Step(what, fire, is_echo)

    def close(self) -> None:
        self._file.unlink(missing_ok=True)


class _LogCanary:
    """A line in a log of its own: a failed login of nobody, read as such or as the line it is."""

    def __init__(self, section: Any, scratch: Path) -> None:  # noqa: ANN401
        self.root: Path | None = scratch
        self.section = section
        self._log = scratch / "canary.log"
        self._log.touch()
        self._user = f"canary-{secrets.token_hex(4)}"

    def steps(self) -> Sequence[Step]:
        return (Step("a log line", self._write, self._is_it),)

    def _write(self) -> None:
        stamp = datetime.fromtimestamp(SystemClock().wall_ns() / NS_PER_S, UTC).isoformat()
        with self._log.open("a") as file:
            file.write(
                f"{stamp} host sshd[{os.getpid()}]: Failed password for invalid user {self._user}"
                f" from 192.0.2.1 port 9 ssh2\n{stamp} host canary: {self._user}\n"
            )

    def _is_it(self, sighting: Sighting) -> bool:
        thing = _thing(sighting)
        if isinstance(thing, LogLine):
            return self._user in thing.message
        user = thing.user if isinstance(thing, Login) else None
        return isinstance(user, User) and user.name == self._user

    def close(self) -> None:
        """Leave the log to whoever removes the directory."""


def _auth_log(section: Any, scratch: Path) -> Canary:  # noqa: ANN401
    return _LogCanary(structs.replace(section, paths=("/canary.log",)), scratch)


def _any_log(section: Any, scratch: Path) -> Canary:  # noqa: ANN401
    return _LogCanary(structs.replace(section, files=(LogFileSettings("/canary.log"),)), scratch)


class _PackageCanary:
    """A package that a package database of its own gains."""

    def __init__(self, section: Any, scratch: Path) -> None:  # noqa: ANN401
        self.root: Path | None = scratch
        self.section = section
        self._status = scratch / "var/lib/dpkg/status"
        self._status.parent.mkdir(parents=True)
        self._name = f"canary-{secrets.token_hex(4)}"
        self._status.write_text(_package("base"))

    def steps(self) -> Sequence[Step]:
        return (Step("an installed package", self._install, self._is_it),)

    def _install(self) -> None:
        fresh = self._status.with_suffix(".new")
        fresh.write_text(_package("base") + _package(self._name))
        fresh.rename(self._status)

    def _is_it(self, sighting: Sighting) -> bool:
        thing = _thing(sighting)
        return isinstance(thing, Package) and thing.name == self._name

    def close(self) -> None:
        """Leave the database to whoever removes the directory."""


class _PersistenceCanary:
    """An account and a cron job that a host of its own gains."""

    def __init__(self, section: Any, scratch: Path) -> None:  # noqa: ANN401
        self.root: Path | None = scratch
        self.section = structs.replace(section, interval_s=5, walk_delay_s=3600)
        self._name = f"canary-{secrets.token_hex(4)}"
        self._jobs = scratch / "etc/cron.d"
        self._jobs.mkdir(parents=True)
        self._users = scratch / "etc/passwd"
        self._users.write_text(_ROOT)

    def steps(self) -> Sequence[Step]:
        return (
            Step("a new account", self._enlist, self._is_account),
            Step("a new cron job", self._plan, self._is_job),
        )

    def _enlist(self) -> None:
        fresh = self._users.with_suffix(".new")
        fresh.write_text(f"{_ROOT}{self._name}:x:64999:64999::/nonexistent:/usr/sbin/nologin\n")
        fresh.rename(self._users)

    def _plan(self) -> None:
        (self._jobs / self._name).write_text("0 0 1 1 * root /bin/true\n")

    def _is_account(self, sighting: Sighting) -> bool:
        thing = _thing(sighting)
        user = getattr(thing, "user", thing)
        names = (getattr(user, "name", None), getattr(thing, "name", None))
        return isinstance(sighting, Observation) and self._name in names

    def _is_job(self, sighting: Sighting) -> bool:
        thing = _thing(sighting)
        return isinstance(thing, Persistence) and thing.path.endswith(self._name)

    def close(self) -> None:
        """Leave the host to whoever removes the directory."""


_ROOT: Final = "root:x:0:0:root:/root:/bin/sh\n"


def _package(name: str) -> str:
    return (
        f"Package: {name}\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n"
        "Description: canary\n\n"
    )


def _thing(sighting: Sighting) -> object:
    if isinstance(sighting, Observation):
        return sighting.subject.value
    item = getattr(sighting, "item", None)
    return getattr(item, "value", None)


CANARIES: Final[Mapping[str, CanaryFactory]] = MappingProxyType(
    {
        "processes": _ProcessCanary,
        "sockets": _SocketCanary,
        "files": _FileCanary,
        "authlog": _auth_log,
        "logs": _any_log,
        "packages": _PackageCanary,
        "persistence": _PersistenceCanary,
    }
)

# What nobody at a terminal waits for is left out of a first look: a daily walk over every file.
LOOKS: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType(
    {"persistence": lambda section: structs.replace(section, walk_delay_s=0, walk_exclude=("/",))}
)

# The logs a sensor reads, out of its section: how fresh they are is worth knowing beside a canary
# in a log of our own.
LOGS: Final[Mapping[str, Callable[[Any], Sequence[str]]]] = MappingProxyType(
    {
        "authlog": lambda section: section.paths,
        "logs": lambda section: [file.path for file in section.files],
    }
)


@contextmanager
def canary_for(sensor: str, section: object, scratch: Path) -> Iterator[Canary | None]:
    """Yield the canary of a sensor, closed afterwards; None where there is none.

    Args:
        sensor: its name.
        section: its settings.
        scratch: an empty directory that the caller removes.

    Raises:
        OSError: the canary cannot be prepared.
    """
    factory = CANARIES.get(sensor)
    if factory is None:
        yield None
        return
    canary = factory(section, scratch)
    try:
        yield canary
    finally:
        canary.close()
