"""Tables of what is on this host now, for people and scripts: ``vedette-agent ls TABLE``.

A row holds what a sensor reads, under stable names. A value that was not collected is left out; one
that was looked for and is not there is None.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from msgspec import UNSET, Struct

from agent.hostroot import HostRoot
from agent.sense.sensors import processes, sockets
from agent.sense.sensors.filelist import file_rows
from agent.sense.sensors.filetrees import FileSettings
from agent.sense.sensors.packages import package_rows
from proto.model import Endpoint, Process, User
from runtime.clock import Clock

Row = dict[str, object]


class Table(Struct, frozen=True):
    """A table: what its columns mean, and who fills it."""

    columns: Mapping[str, str]
    rows: Callable[[HostRoot, Clock], Iterator[Row]]


def rows(table: str, host: HostRoot, clock: Clock) -> Iterator[Row]:
    """Yield the rows of a table.

    Raises:
        KeyError: there is no such table in `TABLES`.
        HostFileError: the host has no /proc where we look.
    """
    return TABLES[table].rows(host, clock)


def _process_rows(host: HostRoot, clock: Clock) -> Iterator[Row]:
    for process in processes.snapshot(host, clock):
        yield _process_row(process)


def _socket_rows(host: HostRoot, clock: Clock) -> Iterator[Row]:
    for endpoint, is_listening, process in sockets.snapshot(host, clock):
        if not is_listening:
            yield _endpoint_row(endpoint) | _holder_row(process)


def _listening_rows(host: HostRoot, clock: Clock) -> Iterator[Row]:
    for endpoint, is_listening, process in sockets.snapshot(host, clock):
        if is_listening:
            yield _endpoint_row(endpoint) | _holder_row(process)


def _process_row(process: Process) -> Row:
    return _collected(
        {
            "pid": process.pid,
            "ppid": process.ppid,
            "name": process.name,
            "exe": process.exe,
            "argv": list(process.argv),
            "cwd": process.cwd,
            **_user_row(process.user, ""),
            **_user_row(process.effective_user, "effective_"),
            "session": process.session,
            "tty": process.tty,
            "container": process.container,
            "unit": process.unit,
            "start": process.start,
            "caveats": list(process.caveats),
        }
    )


def _endpoint_row(endpoint: Endpoint) -> Row:
    return _collected(
        {
            "protocol": endpoint.protocol,
            "local_address": endpoint.local_address,
            "local_port": endpoint.local_port,
            "remote_address": endpoint.remote_address,
            "remote_port": endpoint.remote_port,
            "state": endpoint.state,
            "inode": endpoint.inode,
        }
    )


def _holder_row(process: Process | None) -> Row:
    if process is None:
        return {}
    named = {"pid": process.pid, "name": process.name, "exe": process.exe}
    return _collected(named | _user_row(process.user, "") | {"unit": process.unit})


def _user_row(user: object, prefix: str) -> Row:
    if not isinstance(user, User):
        return {}
    return {f"{prefix}uid": user.uid, f"{prefix}user": user.name}


def _package_rows(host: HostRoot, _clock: Clock) -> Iterator[Row]:
    return package_rows(host)


def _file_rows(host: HostRoot, _clock: Clock) -> Iterator[Row]:
    return file_rows(FileSettings(), host)


def _collected(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not UNSET}


_ENDPOINT_COLUMNS: Final = {
    "protocol": "tcp, tcp6, udp or udp6",
    "local_address": "address of this host's end",
    "local_port": "port of this host's end",
    "remote_address": "address of the other end; null for a listener",
    "remote_port": "port of the other end; null for a listener",
    "state": "state of the connection, in the kernel's words",
    "inode": "the socket's inode; null once no process holds it",
    "pid": "the process that holds it; absent where that cannot be told",
    "name": "that process's name",
    "exe": "that process's executable; null for a kernel thread",
    "uid": "that process's real user",
    "user": "name of that user in the host's own accounts",
    "unit": "that process's systemd unit; null for none",
}

TABLES: Final[Mapping[str, Table]] = {
    "processes": Table(
        columns={
            "pid": "process number",
            "ppid": "process number of the parent",
            "name": "name the process has given itself",
            "exe": "path of the executable; null for a kernel thread",
            "argv": "arguments, cut after 32 KiB",
            "cwd": "working directory",
            "uid": "real user",
            "user": "name of that user in the host's own accounts",
            "effective_uid": "effective user",
            "effective_user": "name of that user in the host's own accounts",
            "session": "process number of the session leader",
            "tty": "controlling terminal below /dev; null for none",
            "container": "container id or name; null for none",
            "unit": "systemd unit; null for none",
            "start": "start in nanoseconds since boot, exact to 10 ms",
            "caveats": "what may be wrong or missing, and why",
        },
        rows=_process_rows,
    ),
    "sockets": Table(columns=_ENDPOINT_COLUMNS, rows=_socket_rows),
    "listening": Table(columns=_ENDPOINT_COLUMNS, rows=_listening_rows),
    "packages": Table(
        columns={
            "manager": "deb, rpm, python or npm",
            "name": "name of the package",
            "version": "its version, as its manager writes it",
            "architecture": "what it was built for",
            "state": "installed, or how far the manager got",
            "path": "the directory it is installed in; null where there can be only one",
        },
        rows=_package_rows,
    ),
    "files": Table(
        columns={
            "path": "a file of the trees that are watched by default",
            "type": "file, directory, link or other",
            "size_bytes": "size",
            "mode": "permission bits, octal",
            "uid": "owner",
            "gid": "group",
            "changed": "ctime, nanoseconds UTC",
        },
        rows=_file_rows,
    ),
}
