"""Secrets do not get signed for ever: what is taken out of host text before sealing.

Pure. A secret becomes ``<redacted:xxxxxxxx>``, eight hex digits of a keyed hash, so that two uses
of one secret can be told to be the same without either being known. User names can be treated the
same way, where the owner of the hosts asks for it.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import is_
from typing import Final, TypeVar

from msgspec import Struct, UnsetType, structs

from agent.hosttext import CUT
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
_PLACED = "<redacted:"
_PLACEHOLDER = _PLACED + "{}>"
# The longest option whose value may follow without anything between.
_SHORT_CHARS = 3
_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|secret|token|api[-_]?key|access[-_]?key|auth|credential|"
    r"private[-_]?key|session[-_]?id|client[-_]?secret|bearer|signature|sig"
)
# name=value and name: value, up to the closing quote, or to white space, quote, & or ;. Nothing is
# asked of what stands before the name: looking back from each place costs more than it tells. Only
# sudo's NOPASSWD: is no secret.
_ASSIGNED = re.compile(
    rf"(?i)((?<!no)(?:{_NAMES})[\w.-]{{0,20}}+[\"']?\s{{0,2}}[=:]\s{{0,2}})"
    r"(\"[^\"]{1,4096}\"|'[^']{1,4096}'|[\"']?[^\s\"'&;]{1,4096})"
)
_HEADER = re.compile(r"(?i)(\b(?:authorization|cookie):\s{0,4})([^\s\"'][^\"'\r\n]{0,4095})")
_SCHEME = re.compile(r"(?i)(\b(?:bearer|basic)\s{1,4})(\S{6,4096})")
# Up to the last @ before the path; without a password only where no user name is usual.
_USERINFO = re.compile(r"(://)([^\s/@:]{0,256}:[^\s/]{1,1024})(@)")
_USER_TOKEN = re.compile(r"(?i)(\bhttps?://)([^\s/@:]{1,1024})(@)")
_QUERY = re.compile(
    r"(?i)([?&](?:key|code|sid|session|cookie|ticket|otp|pin|sas|assertion)=)([^\s\"'&;#]{1,4096})"
)
_KNOWN = re.compile(
    r"\b((?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{22,255}"
    r"|xox[abprs]-[A-Za-z0-9-]{10,200}|glpat-[\w-]{20,64}|npm_[A-Za-z0-9]{36}"
    r"|AIza[\w-]{35}|[sr]k_live_[A-Za-z0-9]{16,255}|hv[sb]\.[\w-]{16,255}"
    r"|eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{0,2000})"
)
_WEBHOOK = re.compile(r"(?i)(hooks\.slack\.com/services/)([^\s\"']{8,256})")
# A password's digest, as crypt(5) writes it.
_CRYPT = re.compile(r"(\$(?:[1-9]|2[abxy]?|y|gy|md5|sha1)\$[./A-Za-z0-9$,=]{8,256})")
_PEM = re.compile(r"(?s)(-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----)(.+?)(-----END|\Z)")
_NAME = re.compile(rf"(?i){_NAMES}")
# What each of the names has in it: looked for first, because most text has none of them.
_STEMS = ("pass", "pwd", "secret", "token", "key", "auth", "cred", "session", "bearer", "sig")
_OPTION = re.compile(r"(?s)(--?[\w-]{1,80}+)(?:([=:])(.+))?")
# A word of a command line with the quotes in it, or what stands between words.
_WORD = re.compile(r"\s+|(?:\"[^\"]*\"|'[^']*'|[^\s\"']|[\"'])+")
_DOLLAR_OR_DASHES = ("$", "-----")

# Programs, and words after a program, from which on an option's value is a secret.
_USER_AND_PASSWORD = ("-U", "--user")
_SECRET_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("curl",), ("-u", "-U", "--user", "--proxy-user")),
    **dict.fromkeys(("smbclient", "rpcclient", "smbget", "net"), _USER_AND_PASSWORD),
    **dict.fromkeys(("ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldapwhoami"), ("-w",)),
    **dict.fromkeys(("sshpass", "useradd", "usermod", "login", "rdesktop"), ("-p",)),
    **dict.fromkeys(("mongo", "mongosh", "mongodump", "mongorestore"), ("-p",)),
    **dict.fromkeys(("zip", "unzip", "sqlcmd", "bcp", "ipmitool"), ("-P",)),
    "redis-cli": ("-a",),
    "openssl": ("-k", "-K"),
}
# The same, where the value is in the same word or asked for.
_SECRET_WITHIN: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump"), ("-p",)),
    **dict.fromkeys(("7z", "7za", "7zr"), ("-p",)),
    **dict.fromkeys(("xfreerdp", "wlfreerdp"), ("/p:",)),
}


# Text that placeholders make longer than it was is cut here.
GROWN_CHARS_MAX: Final = 4096
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
        """Return text without the secrets that can be recognised in it.

        It is not longer than it was, or not long: what is all placeholders must be sealed, too.
        """
        return _cut(self._clean(text), max(len(text), GROWN_CHARS_MAX))

    def _clean(self, text: str) -> str:
        if "://" in text:
            text = _USERINFO.sub(self._second, text)
            text = _USER_TOKEN.sub(self._second, text)
        if "?" in text:
            text = _QUERY.sub(self._second, text)
        if ":" in text:
            text = _HEADER.sub(self._second, text)
        text = _SCHEME.sub(self._second, text)
        text = _KNOWN.sub(self._whole, text)
        text = _WEBHOOK.sub(self._second, text)
        if any(mark in text for mark in _DOLLAR_OR_DASHES):
            text = _CRYPT.sub(self._whole, text)
            text = _PEM.sub(self._second, text)
        return _ASSIGNED.sub(self._assigned, text) if _may_name(text) else text

    def _whole(self, match: re.Match[str]) -> str:
        return self.placeholder(match[0])

    def _second(self, match: re.Match[str]) -> str:
        if match[2].startswith(_PLACED):
            return match[0]
        end = match[3] if match.re.groups > 2 else ""
        return match[1] + self.placeholder(match[2]) + end

    def _assigned(self, match: re.Match[str]) -> str:
        value = match[2]
        quote = value[0] if value[0] in "\"'" else ""
        inner = value.strip(quote) if quote else value
        if not inner or inner.startswith(_PLACED):
            return match[0]
        is_closed = bool(quote) and value.endswith(quote)
        return match[1] + quote + self.placeholder(inner) + (quote if is_closed else "")

    def argv(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return an argument vector without secrets, options and their values taken together.

        A word that is itself a command line, as a shell is given one, is read as one.
        """
        clean = list(self._vector(argv, self.command))
        room = max(sum(map(len, argv)), GROWN_CHARS_MAX)
        for place, word in enumerate(clean):
            if len(word) > room:
                return (*clean[:place], _cut(word, max(room, len(CUT))))
            room -= len(word)
        return tuple(clean)

    def command(self, line: str) -> str:
        """Return a command line without secrets: as text, and word by word as arguments."""
        words = _WORD.findall(self.text(line))
        places = [place for place, word in enumerate(words) if not word.isspace()]
        clean = self._vector([words[place] for place in places], lambda word: word)
        for place, word in zip(places, clean, strict=True):
            words[place] = word
        return _cut("".join(words), max(len(line), GROWN_CHARS_MAX))

    def _vector(self, words: Sequence[str], cleaned: Callable[[str], str]) -> Iterator[str]:
        taking: tuple[str, ...] = ()
        within: tuple[str, ...] = ()
        is_next_secret = False
        for word in words:
            if is_next_secret:
                is_next_secret = False
                yield word if not word or word.startswith(_PLACED) else self.placeholder(word)
                continue
            program = word.rpartition("/")[2]
            # Each once: a word of an attacker's may come again and again.
            taking += tuple(o for o in _SECRET_OPTIONS.get(program, ()) if o not in taking)
            within += tuple(o for o in _SECRET_WITHIN.get(program, ()) if o not in within)
            option = next((o for o in (*taking, *within) if word.startswith(o)), None)
            value = "" if option is None else word.removeprefix(option)
            if option is not None and (len(option) <= _SHORT_CHARS or value[:1] in {"", "="}):
                is_next_secret = word in taking
                bare = value.removeprefix("=")
                yield word.removesuffix(bare) + self.placeholder(bare) if bare else word
                continue
            named = _secret_option(word)
            is_next_secret = word in taking or (named is not None and not named[2])
            if named is not None and named[2] and not named[3].startswith(_PLACED):
                yield named[1] + named[2] + self.placeholder(named[3])
            else:
                yield cleaned(word)

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
            arguments=tuple(Argument(a.name, self.command(a.value)) for a in finding.arguments),
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
                return structs.replace(thing, message=self.command(thing.message))
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
        user = _maybe(self._user, login.user)
        if isinstance(user, User) and isinstance(user.name, str):
            # People type and paste the wrong thing where a user name is asked.
            user = structs.replace(user, name=self.text(user.name))
        return structs.replace(login, user=user)

    def _user(self, user: User) -> User:
        if not self._settings.pseudonymise_users or not isinstance(user.name, str):
            return user
        return structs.replace(user, name=self.placeholder(user.name))


def _may_name(text: str) -> bool:
    lower = text.lower()
    return any(stem in lower for stem in _STEMS)


def _secret_option(word: str) -> re.Match[str] | None:
    """Return name, separator and value of an option whose name says that its value is secret."""
    found = _OPTION.fullmatch(word) if word.startswith("-") else None
    return found if found is not None and _NAME.search(found[1]) else None


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - len(CUT)] + CUT


def _maybe(convert: Callable[[_T], _T], value: _T | UnsetType | None) -> _T | UnsetType | None:
    return value if value is None or isinstance(value, UnsetType) else convert(value)
