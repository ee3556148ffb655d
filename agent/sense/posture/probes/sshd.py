"""Sshd probe: what the SSH server would do, by its configuration alone and without starting it.

Source: /etc/ssh/sshd_config and what it includes. The first value of a keyword wins; an Include is
read where it stands, in the order of its names; what stands under a Match is no effective value but
noted beside it, because it decides for some. Privilege: that of root where the files are private.
Misses: options on the command line of the running server, and defaults that a distribution patched
into its build.

Source: sshd_config(5).
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason

MAIN_PATH: Final = "/etc/ssh/sshd_config"
FILES_MAX: Final = 128
DEPTH_MAX: Final = 16
VALUE_CHARS_MAX: Final = 64

# Keyword as configured -> fact, and the value where none is configured (OpenSSH since 7.0).
_SETTINGS: Final = {
    "kbdinteractiveauthentication": ("kbd_interactive_authentication", "yes"),
    "loglevel": ("log_level", "info"),
    "maxauthtries": ("max_auth_tries", "6"),
    "passwordauthentication": ("password_authentication", "yes"),
    "permitemptypasswords": ("permit_empty_passwords", "no"),
    "permitrootlogin": ("permit_root_login", "prohibit-password"),
    "pubkeyauthentication": ("pubkey_authentication", "yes"),
    "usepam": ("use_pam", "no"),
    "x11forwarding": ("x11_forwarding", "no"),
}
_ALIASES: Final = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
}
_VALUE_ALIASES: Final = {"without-password": "prohibit-password"}
_DEFAULT: Final = "default"
_WORD: Final = re.compile(r"""(?:"[^"]*"|'[^']*'|[^ \t"'])+""")
_QUOTED: Final = re.compile(r""""([^"]*)"|'([^']*)'""")


class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
    """None: the whole of what we keep is read at once."""


class Setting(Struct, frozen=True):
    """A value in lower case, the file it stands in or ``default``, and the values under a Match."""

    value: str
    origin: str
    under_match: tuple[str, ...]


class Facts(Struct, frozen=True):
    """The effective settings; all None where there is no configuration to read."""

    configured: bool
    files: int
    matches: int
    kbd_interactive_authentication: Setting | None = None
    log_level: Setting | None = None
    max_auth_tries: Setting | None = None
    password_authentication: Setting | None = None
    permit_empty_passwords: Setting | None = None
    permit_root_login: Setting | None = None
    pubkey_authentication: Setting | None = None
    use_pam: Setting | None = None
    x11_forwarding: Setting | None = None


class Line(Struct, frozen=True):
    """A keyword in lower case and its arguments, at least one."""

    keyword: str
    arguments: Annotated[tuple[str, ...], Meta(min_length=1)]


def read(parameters: Parameters, reader: HostReader) -> Facts:
    """Return the effective settings.

    Raises:
        Unseen: a file that counts could not be read, or the server would refuse it.
    """
    del parameters
    return reader.once("sshd", lambda: _effective(reader))


def parse(text: str) -> tuple[Line, ...]:
    """Return the lines of one file.

    Raises:
        Unseen: a keyword without a value or an open quote, with which the server does not start.
    """
    found = []
    for raw in text.split("\n"):
        line = raw.strip(" \t\r\f")
        if not line or line.startswith("#"):
            continue
        end = next((at for at, char in enumerate(line) if char in " \t="), len(line))
        rest = line[end:].lstrip(" \t")
        arguments = tuple(_arguments(rest.removeprefix("=")))
        if not arguments:
            raise Unseen(UnknownReason.PARSE, "a keyword of sshd_config has no value")
        keyword = line[:end].strip('"').lower()
        found.append(Line(_ALIASES.get(keyword, keyword), arguments))
    return tuple(found)


def _arguments(text: str) -> Iterator[str]:
    """Split as the server does: quotes keep spaces, a word that begins with # ends the line."""
    at = 0
    while rest := text[at:].lstrip(" \t"):
        if rest.startswith("#"):
            return
        word = _WORD.match(rest)
        if word is None or (word.end() < len(rest) and rest[word.end()] not in " \t"):
            raise Unseen(UnknownReason.PARSE, "a quote in sshd_config is not closed")
        yield _QUOTED.sub(lambda found: found.group(1) or found.group(2) or "", word.group())
        at = len(text) - len(rest) + word.end()


class _Walk:
    """Reading the configuration in order, includes in their place."""

    def __init__(self, reader: HostReader) -> None:
        self._reader = reader
        self.files = 0
        self.matches = 0
        self.values: dict[str, tuple[str, str]] = {}
        self.under_match: dict[str, list[str]] = {}

    def file(self, path: str, depth: int, *, matched: bool) -> bool:
        """Take one file in; return whether there is such a file."""
        text = self._reader.text(path)
        if text is None:
            return False
        self.files += 1
        if depth > DEPTH_MAX or self.files > FILES_MAX:
            raise Unseen(UnknownReason.OVERSIZE, "sshd_config includes too many files")
        for line in parse(text):
            if line.keyword == "include":
                for pattern in line.arguments:
                    for name in _glob(_absolute(pattern), self._reader):
                        self.file(name, depth + 1, matched=matched)
            elif line.keyword == "match":
                matched = True  # until the next Match, or the end of this file
                self.matches += 1
            elif line.keyword in _SETTINGS:
                self._take(line, path, matched=matched)
        return True

    def _take(self, line: Line, path: str, *, matched: bool) -> None:
        raw = line.arguments[0].lower()[:VALUE_CHARS_MAX]
        value = _VALUE_ALIASES.get(raw, raw)
        if not matched:
            self.values.setdefault(line.keyword, (value, path))
        elif value not in (known := self.under_match.setdefault(line.keyword, [])):
            known.append(value)


def _effective(reader: HostReader) -> Facts:
    walk = _Walk(reader)
    if not walk.file(MAIN_PATH, 0, matched=False):
        return Facts(configured=False, files=0, matches=0)
    settings = {}
    for keyword, (fact, default) in _SETTINGS.items():
        value, origin = walk.values.get(keyword, (default, _DEFAULT))
        under_match = tuple(sorted(walk.under_match.get(keyword, ()))[:16])
        settings[fact] = Setting(value, origin[:256], under_match)
    return Facts(configured=True, files=walk.files, matches=walk.matches, **settings)


def _absolute(pattern: str) -> str:
    return pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"


def _glob(pattern: str, reader: HostReader) -> list[str]:
    """Return the paths that match, in the order in which the server reads them."""
    paths = [""]
    for part in [part for part in pattern.split("/") if part]:
        if not any(char in part for char in "*?["):
            paths = [f"{path}/{part}" for path in paths]
            continue
        paths = [
            f"{path}/{name}"
            for path in paths
            for name in reader.names(path or "/") or ()
            if fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
        ]
        if len(paths) > FILES_MAX:
            raise Unseen(UnknownReason.OVERSIZE, "sshd_config includes too many files")
    return [path for path in paths if reader.stat(path) is not None]
