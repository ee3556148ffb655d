"""Tables of what runs and speaks: processes, sockets, listeners, and the watched files."""

from collections.abc import Iterator
from typing import Final

from agent.sense.sensors import processes, sockets
from agent.sense.sensors.filelist import file_rows as listed_files
from agent.sense.tables.table import Looking, Row, Table, collected
from proto.model import Endpoint, Process, User


def process_rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a process.

    Raises:
        HostFileError: the host has no /proc where we look.
    """
    for process in processes.snapshot(looking.host, looking.clock):
        yield _process_row(process)


def socket_rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a connection.

    Raises:
        HostFileError: the host has no /proc where we look.
    """
    yield from _sockets(looking, is_wanted=False)


def listening_rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a listener.

    Raises:
        HostFileError: the host has no /proc where we look.
    """
    yield from _sockets(looking, is_wanted=True)


def file_rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a file of the watched trees."""
    yield from listed_files(looking.sources.files, looking.host, looking.missed)


def _sockets(looking: Looking, *, is_wanted: bool) -> Iterator[Row]:
    for endpoint, is_listening, process in sockets.snapshot(looking.host, looking.clock):
        if is_listening == is_wanted:
            yield _endpoint_row(endpoint) | _holder_row(process)


def _process_row(process: Process) -> Row:
    return collected(
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
    return collected(
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
    return collected(named | _user_row(process.user, "") | {"unit": process.unit})


def _user_row(user: object, prefix: str) -> Row:
    if not isinstance(user, User):
        return {}
    return {f"{prefix}uid": user.uid, f"{prefix}user": user.name}


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

PROCESSES: Final = Table(
    text="processes, with who runs them and where they belong",
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
    rows=process_rows,
    shown=("pid", "ppid", "user", "name", "tty", "unit", "argv"),
)
SOCKETS: Final = Table(
    text="connections, with the process that holds each",
    columns=_ENDPOINT_COLUMNS,
    rows=socket_rows,
    shown=(
        "protocol",
        "local_address",
        "local_port",
        "remote_address",
        "remote_port",
        "state",
        "pid",
        "name",
    ),
)
LISTENING: Final = Table(
    text="ports that are open, with the process behind each",
    columns=_ENDPOINT_COLUMNS,
    rows=listening_rows,
    shown=("protocol", "local_address", "local_port", "pid", "name", "user", "exe"),
)
FILES: Final = Table(
    text="files of the trees that are watched",
    columns={
        "path": "a file of the trees that are watched",
        "type": "file, directory, link or other",
        "size_bytes": "size",
        "mode": "permission bits, octal",
        "uid": "owner",
        "gid": "group",
        "changed": "ctime, nanoseconds UTC",
    },
    rows=file_rows,
    shown=("path", "type", "size_bytes", "mode", "uid", "gid"),
)
