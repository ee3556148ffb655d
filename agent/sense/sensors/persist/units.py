"""Units of systemd that start something: local ones, enabled ones, what these trigger, drop-ins.

A unit that a package brought and nobody enabled starts nothing by itself and is not read. Units
made at run time by ``systemd-run`` are not looked at. Source: systemd.unit(5), systemd.service(5),
systemd.timer(5).
"""

import re
from collections.abc import Generator, Iterator
from typing import Final

from msgspec import Struct

from agent.hosttext import host_text
from agent.sense.mechanisms import ENABLED, SYSTEMD_TIMER, SYSTEMD_UNIT
from agent.sense.sensors.persist.homes import homes
from agent.sense.sensors.persist.items import NAME_CHARS_MAX, Entry, Found, whole
from agent.sense.sensors.persist.look import Content, Look
from proto.model import User

# In the order of precedence; what lies in the first ones was put there on this host.
LOCAL: Final = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/etc/systemd/user",
    "/usr/local/lib/systemd/user",
)
VENDOR: Final = ("/usr/lib/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/user")
OF_HOMES: Final = (".config/systemd/user", ".local/share/systemd/user")
UNIT_BYTES_MAX: Final = 256 * 1024
LINE_CHARS_MAX: Final = 8192

_UNIT: Final = re.compile(r"[^/\0]{1,200}\.(?:service|timer|socket|path|mount|automount|swap)")
_LINKING: Final = re.compile(r"[^/\0]{1,200}\.(?:wants|requires|upholds)")
_DROP_INS: Final = re.compile(r"[^/\0]{1,200}\.d")
_TRIGGERS: Final = frozenset({"timer", "socket", "path"})
_TOLD: Final = re.compile(
    r"Listen\w+|Exec(?:Start|Stop|Reload|Condition)(?:Pre|Post)?|On[A-Z]\w*|Unit|Sockets|What"
    r"|Path(?:Exists|ExistsGlob|Changed|Modified)|DirectoryNotEmpty|Environment|EnvironmentFile"
)


class Unit(Struct, frozen=True):
    """What is told of a unit file: settings that start something, in the order of the file."""

    settings: tuple[tuple[str, str], ...]
    user: str = ""

    @property
    def value(self) -> str:
        """The settings as one line."""
        return "; ".join(f"{name}={value}" for name, value in self.settings)

    def named(self, name: str) -> str:
        """Return the last value of a setting; empty where it has none."""
        return next((value for key, value in reversed(self.settings) if key == name), "")


def read(look: Look) -> Iterator[Found | None]:
    """Yield units and drop-ins."""
    directories = [*LOCAL, *(one for one in VENDOR if not _is_alias(look, one))]
    wanted = yield from _local(look, LOCAL)
    for directory in directories:
        if directory in VENDOR:
            wanted |= dict.fromkeys(_enabled(look, directory, look.names(directory)))
    yield from _vendor(look, [one for one in directories if one in VENDOR], wanted)
    for home in homes(look):
        for below in OF_HOMES:
            directory = f"{home.path}/{below}"
            if look.resolved(directory) is not None:
                yield from _local(look, (directory,), home.account.user)


def parse_unit(content: Content) -> Unit:
    """Return what a unit file starts; untrusted bytes, lines that are none are passed over."""
    settings: list[tuple[str, str]] = []
    user = ""
    for text in _logical_lines(content):
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not value:
            continue
        if name == "User":
            user = value
        elif _TOLD.fullmatch(name):
            settings.append((name, value))
    return Unit(tuple(settings), user)


def triggered(name: str, unit: Unit) -> str:
    """Return which unit a timer, socket or path starts; empty for others."""
    stem, _, kind = name.rpartition(".")
    return (unit.named("Unit") or f"{stem}.service") if kind in _TRIGGERS else ""


def _logical_lines(content: Content) -> Iterator[str]:
    waiting = ""
    for raw in content.lines():
        text = raw.decode("utf-8", "backslashreplace").strip()
        if not text or text[0] in "#;":
            continue
        if text.endswith("\\") and len(waiting) < LINE_CHARS_MAX:
            waiting += text[:-1].rstrip() + " "
            continue
        yield (waiting + text)[:LINE_CHARS_MAX]
        waiting = ""
    if waiting:
        yield waiting[:LINE_CHARS_MAX]


def _local(
    look: Look, directories: tuple[str, ...], owner: User | None = None
) -> Generator[Found | None, None, dict[str, None]]:
    """Yield all units of directories of this host; return what they enable of others."""
    wanted: dict[str, None] = {}
    for directory in directories:
        names = look.names(directory)
        enabled = set(_enabled(look, directory, names))
        wanted |= dict.fromkeys(sorted(enabled))
        for name in names:
            path = f"{directory}/{name}"
            yield None
            if owner is not None and look.resolved(path) is None:
                continue
            if _DROP_INS.fullmatch(name):
                yield from _drop_ins(look, path, owner)
            elif _UNIT.fullmatch(name):
                target = look.link(path)
                if target is not None and target != "/dev/null":
                    # An alias, or a unit enabled from elsewhere: the name here starts it.
                    wanted[target.rpartition("/")[2]] = None
                    if _is_vendor(target, directory):
                        continue
                content = look.file(path, UNIT_BYTES_MAX) if target != "/dev/null" else None
                if content is not None:
                    unit = parse_unit(content)
                    wanted[triggered(name, unit)] = None
                    yield _found(content, name, unit, (owner, name in enabled))
    return wanted


def _vendor(look: Look, directories: list[str], wanted: dict[str, None]) -> Iterator[Found | None]:
    """Yield the units of packages that are wanted, and those that these trigger."""
    waiting, seen = [name for name in wanted if _UNIT.fullmatch(name)], set(wanted)
    while waiting:
        yield None
        name = waiting.pop()
        for directory in directories:
            content = look.file(f"{directory}/{_template(name)}", UNIT_BYTES_MAX)
            if content is None:
                continue
            unit = parse_unit(content)
            yield _found(content, name, unit, (None, True))
            more = triggered(name, unit)
            if more not in seen and _UNIT.fullmatch(more):
                seen.add(more)
                waiting.append(more)
            break


def _enabled(look: Look, directory: str, names: list[str]) -> Iterator[str]:
    """Yield the units that are linked to be started with others."""
    for name in names:
        if _LINKING.fullmatch(name):
            yield from look.names(f"{directory}/{name}")


def _drop_ins(look: Look, directory: str, owner: User | None) -> Iterator[Found | None]:
    for name in look.names(directory):
        yield None
        content = look.file(f"{directory}/{name}", UNIT_BYTES_MAX) if name[-5:] == ".conf" else None
        if content is not None:
            below = f"{directory.rpartition('/')[2]}/{name}"
            yield _found(content, below, parse_unit(content), (owner, False))


def _found(content: Content, name: str, unit: Unit, about: tuple[User | None, bool]) -> Found:
    owner, is_enabled = about
    user = User(name=host_text(unit.user, NAME_CHARS_MAX)) if unit.user else owner
    mechanism = SYSTEMD_TIMER if name.endswith(".timer") else SYSTEMD_UNIT
    caveats = (ENABLED,) if is_enabled else ()
    return whole(content, Entry(mechanism, name, unit.value or None, user, caveats))


def _template(name: str) -> str:
    """Return the file of an instance: ``getty@.service`` for ``getty@tty1.service``."""
    stem, at, _ = name.partition("@")
    return f"{stem}@.{name.rpartition('.')[2]}" if at else name


def _is_vendor(target: str, directory: str) -> bool:
    path = target if target.startswith("/") else f"{directory}/{target}"
    return path.rpartition("/")[0] in VENDOR


def _is_alias(look: Look, directory: str) -> bool:
    """Tell whether ``/lib`` is but another name of ``/usr/lib``."""
    return directory.startswith("/lib/") and look.link("/lib") is not None
