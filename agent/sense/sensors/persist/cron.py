"""What is run at a time: crontabs, the scripts of cron's directories, anacron, at.

Source: crontab(5), anacrontab(5), at(1). A crontab's line has five fields or one that begins with
``@``, then in the system's tables the user, then the command, which ends at the first bare ``%``.
"""

import re
from collections.abc import Iterator
from typing import Final

from agent.hosttext import host_text
from agent.sense.mechanisms import AT_JOB, CRON_JOB, CRON_SCRIPT
from agent.sense.sensors.persist.items import NAME_CHARS_MAX, Entry, Found, line, whole
from agent.sense.sensors.persist.look import Content, Look
from proto.model import User

CRONTAB: Final = "/etc/crontab"
SYSTEM_DIRECTORIES: Final = ("/etc/cron.d",)
ANACRONTAB: Final = "/etc/anacrontab"
# Debian's, then Red Hat's; the one lies in the other's directory.
SPOOLS: Final = ("/var/spool/cron/crontabs", "/var/spool/cron")
AT_SPOOLS: Final = ("/var/spool/cron/atjobs", "/var/spool/at")
SCRIPT_PERIODS: Final = ("hourly", "daily", "weekly", "monthly", "yearly")
LINE_BYTES_MAX: Final = 16 * 1024

# Where Red Hat keeps tables, Debian keeps directories.
_DIRECTORIES_OF_DEBIAN: Final = frozenset({"crontabs", "atjobs", "atspool"})
_ASSIGNMENT: Final = re.compile(rb"""\s*(?:[A-Za-z_]\w*|"[^"]*"|'[^']*')\s*=""")
_JOB: Final = re.compile(
    rb"(@\w+|[0-9*,/~\-A-Za-z]+(?:[ \t]+[0-9*,/~\-A-Za-z]+){4})[ \t]+(\S.*)", re.DOTALL
)
_AT_OWNER: Final = re.compile(rb"^# atrun uid=(\d{1,10})", re.MULTILINE)
_AT_BODY: Final = re.compile(rb"^cd [^\n]*\|\| \{\n(?:[^\n]*\n){1,4}?\}\n", re.MULTILINE)


def read(look: Look) -> Iterator[Found | None]:
    """Yield jobs and scripts."""
    yield from _table(look, CRONTAB)
    for directory in SYSTEM_DIRECTORIES:
        for name in look.names(directory):
            yield from _table(look, f"{directory}/{name}")
    yield from _anacron(look)
    for directory in SPOOLS:
        for name in look.names(directory):
            if directory != SPOOLS[1] or name not in _DIRECTORIES_OF_DEBIAN:
                yield from _table(look, f"{directory}/{name}", User(name=_label(name)))
    for period in SCRIPT_PERIODS:
        for content in _files(look, f"/etc/cron.{period}"):
            yield whole(content, Entry(CRON_SCRIPT, content.path.rpartition("/")[2], period))
    for directory in AT_SPOOLS:
        for content in _files(look, directory):
            yield at_job(content)


def jobs(content: Content, owner: User | None) -> Iterator[Found]:
    """Yield the jobs of one table.

    Args:
        content: untrusted.
        owner: whose table it is; None for one of the system, whose lines name the user.
    """
    for raw in content.lines():
        text = raw[:LINE_BYTES_MAX].strip()
        if not text or text.startswith(b"#") or _ASSIGNMENT.match(text):
            continue
        found = _JOB.fullmatch(text)
        if found is None:
            continue
        user, command = owner, found[2]
        if owner is None:
            words = command.split(None, 1)
            if len(words) < 2:
                continue
            user, command = User(name=_label(words[0])), words[1]
        command = re.split(rb"(?<!\\)%", command, maxsplit=1)[0].strip()
        schedule = b" ".join(found[1].split())
        if command:
            yield line(content, Entry(CRON_JOB, schedule, command, user))


def at_job(content: Content) -> Found:
    """Return a job of at(1): what it runs, without the environment it was given."""
    name = content.path.rpartition("/")[2]
    owner = _AT_OWNER.search(content.data)
    body = _AT_BODY.search(content.data)
    command = content.data[body.end() :].strip() if body else None
    user = User(uid=int(owner[1])) if owner else None
    return whole(content, Entry(AT_JOB, name, command, user))


def _table(look: Look, path: str, owner: User | None = None) -> Iterator[Found | None]:
    yield None
    content = look.file(path)
    if content is not None:
        yield from jobs(content, owner)


def _files(look: Look, directory: str) -> Iterator[Content]:
    """Yield the files of a directory; hidden ones are markers that nothing runs."""
    for name in look.names(directory):
        content = look.file(f"{directory}/{name}") if not name.startswith(".") else None
        if content is not None:
            yield content


def _anacron(look: Look) -> Iterator[Found]:
    content = look.file(ANACRONTAB)
    for raw in content.lines() if content is not None else ():
        words = raw[:LINE_BYTES_MAX].split(None, 3)
        if content is None or len(words) < 4 or not (words[0].isdigit() or words[0][:1] == b"@"):
            continue
        yield line(content, Entry(CRON_JOB, b" ".join(words[:3]), words[3].strip(), User(uid=0)))


def _label(name: str | bytes) -> str:
    return host_text(name, NAME_CHARS_MAX)
