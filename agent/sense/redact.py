"""Secrets do not get signed for ever: what is taken out of host text before sealing.

Pure. A secret becomes ``<redacted:xxxxxxxx>``, eight hex digits of a keyed hash, so that two uses
of one secret can be told to be the same without either being known. User names can be treated the
same way, where the owner of the hosts asks for it.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from operator import is_
from typing import Final, TypeVar

from msgspec import Struct, UnsetType, structs

from proto.model import (
    Argument,
    Entity,
    Finding,
    InventoryItem,
    Login,
    LogLine,
    Observation,
    Persistence,
    Process,
    Thing,
    User,
)

_T = TypeVar("_T")
_PLACEHOLDER = "<redacted:{}>"
_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|secret|token|api[-_]?key|access[-_]?key|auth|credential|"
    r"private[-_]?key|session[-_]?id|client[-_]?secret|bearer|signature|sig"
)
# name=value, name: value and --name value, up to white space, quote, & or ;
_ASSIGNED = re.compile(
    rf"(?i)((?:^|[\s\"'?&;,{{-])[\w.-]{{0,40}}?(?:{_NAMES})[\w.-]{{0,20}}[\"']?\s{{0,2}}[=:]\s{{0,2}}[\"']?)"
    r"([^\s\"'&;]{1,4096})"
)
_AUTH_HEADER = re.compile(r"(?i)(\b(?:authorization:\s{0,4})?(?:bearer|basic)\s{1,4})(\S{6,4096})")
_USERINFO = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{1,20}://)([^\s/@:]{0,256}:[^\s/@]{1,1024})(@)")
_KNOWN = re.compile(
    r"\b(AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,255}|xox[abprs]-[A-Za-z0-9-]{10,200}"
    r"|eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{0,2000})"
)
_OPTION = re.compile(rf"(?i)^--?[\w-]{{0,40}}?(?:{_NAMES})[\w-]{{0,20}}$")
# Programs whose -p takes a password as the same or the next word.
_SHORT_PASSWORD = {"mysql", "mysqldump", "mysqladmin", "mariadb", "sshpass"}


# Processes remembered with what became of them.
PROCESSES_MAX: Final = 256


class RedactionSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What leaves the host in the clear."""

    # User names help an investigation; some owners may not send them.
    pseudonymise_users: bool = False


class Redactor:
    """Takes secrets out of text, findings and observations.

    Args:
        key: of this host; placeholders of two hosts cannot be compared.
        settings: what else to hide.
    """

    def __init__(self, key: bytes, settings: RedactionSettings) -> None:
        self._key = key
        self._settings = settings
        self._processes: dict[tuple[int, int], tuple[Process, Process]] = {}

    def placeholder(self, secret: str) -> str:
        """Return what stands for a secret."""
        digest = hmac.new(self._key, secret.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return _PLACEHOLDER.format(digest.hexdigest()[:8])

    def text(self, text: str) -> str:
        """Return text without the secrets that can be recognised in it."""
        text = _USERINFO.sub(lambda m: m[1] + self.placeholder(m[2]) + m[3], text)
        text = _AUTH_HEADER.sub(lambda m: m[1] + self.placeholder(m[2]), text)
        text = _KNOWN.sub(lambda m: self.placeholder(m[1]), text)
        return _ASSIGNED.sub(self._assigned, text)

    def _assigned(self, match: re.Match[str]) -> str:
        if match[2].startswith("<redacted:"):
            return match[0]
        return match[1] + self.placeholder(match[2])

    def argv(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return an argument vector without secrets, options and their values taken together."""
        program = argv[0].rpartition("/")[2] if argv else ""
        out: list[str] = []
        is_next_secret = False
        for word in argv:
            if is_next_secret and word:
                out.append(self.placeholder(word))
                is_next_secret = False
                continue
            is_next_secret = _OPTION.match(word) is not None
            if program in _SHORT_PASSWORD and word.startswith("-p") and out:
                is_next_secret = word == "-p" and program == "sshpass"
                out.append("-p" + self.placeholder(word[2:]) if len(word) > 2 else word)
                continue
            out.append(self.text(word))
        return tuple(out)

    def command(self, line: str) -> str:
        """Return a command line without secrets: as text, and word by word as arguments."""
        words = re.split(r"(\s+)", self.text(line))
        is_next_secret = has_short = False
        for place in range(0, len(words), 2):
            word = words[place]
            if is_next_secret and word and not word.startswith("<redacted:"):
                words[place] = self.placeholder(word)
                is_next_secret = False
                continue
            is_next_secret = _OPTION.match(word) is not None
            has_short |= word.rpartition("/")[2] in _SHORT_PASSWORD
            if has_short and word.startswith("-p"):
                is_next_secret = word == "-p"
                words[place] = "-p" + self.placeholder(word[2:]) if len(word) > 2 else word
        return "".join(words)

    def item(self, item: InventoryItem) -> InventoryItem:
        """Return the inventory item as it may be sealed."""
        return structs.replace(item, item=self._entity(item.item))

    def finding(self, finding: Finding) -> Finding:
        """Return the finding as it may be sealed."""
        return structs.replace(
            finding,
            entities=tuple(self._entity(entity) for entity in finding.entities),
            process=_maybe(self._process, finding.process),
            ancestry=tuple(self._process(process) for process in finding.ancestry),
            login=_maybe(self._login, finding.login),
            arguments=tuple(Argument(a.name, self.text(a.value)) for a in finding.arguments),
        )

    def observation(self, observation: Observation) -> Observation:
        """Return the observation as it may be kept or sealed: the very same if nothing is hidden.

        Most are kept for a while, so that what they share with others is worth keeping shared.
        """
        subject = self._entity(observation.subject)
        process = _maybe(self._process, observation.process)
        ancestry = tuple(self._process(process) for process in observation.ancestry)
        is_same = subject is observation.subject and process is observation.process
        if is_same and all(map(is_, ancestry, observation.ancestry)):
            return observation
        return structs.replace(observation, subject=subject, process=process, ancestry=ancestry)

    def _entity(self, entity: Entity) -> Entity:
        value = self._thing(entity.value)
        return entity if value is entity.value else structs.replace(entity, value=value)

    def _thing(self, thing: Thing) -> Thing:
        match thing:
            case Process():
                return self._process(thing)
            case Login():
                return self._login(thing)
            case User():
                return self._user(thing)
            case LogLine():
                return structs.replace(thing, message=self.text(thing.message))
            case Persistence():
                return self._persistence(thing)
            case _:
                return thing

    def _process(self, process: Process) -> Process:
        """Return the process as it may be kept: the very same where there is nothing to hide.

        Parents come again with each of their children, so the last ones are remembered.
        """
        key = process.pid, process.start
        known = self._processes.get(key)
        if known is not None and known[0] is process:
            return known[1]
        argv = self.argv(process.argv)
        user = _maybe(self._user, process.user)
        effective = _maybe(self._user, process.effective_user)
        is_clean = argv == process.argv and user is process.user
        if is_clean and effective is process.effective_user:
            clean = process
        else:
            clean = structs.replace(process, argv=argv, user=user, effective_user=effective)
        if len(self._processes) >= PROCESSES_MAX:
            self._processes.clear()
        self._processes[key] = process, clean
        return clean

    def _persistence(self, entry: Persistence) -> Persistence:
        user = _maybe(self._user, entry.user)
        is_hidden = isinstance(entry.user, User) and user != entry.user
        is_named = isinstance(entry.user, User) and entry.user.name == entry.name
        return structs.replace(
            entry,
            name=self.placeholder(entry.name) if is_hidden and is_named else entry.name,
            value=_maybe(self.command, entry.value),
            user=user,
        )

    def _login(self, login: Login) -> Login:
        return structs.replace(login, user=_maybe(self._user, login.user))

    def _user(self, user: User) -> User:
        if not self._settings.pseudonymise_users or not isinstance(user.name, str):
            return user
        return structs.replace(user, name=self.placeholder(user.name))


def _maybe(convert: Callable[[_T], _T], value: _T | UnsetType | None) -> _T | UnsetType | None:
    return value if value is None or isinstance(value, UnsetType) else convert(value)
