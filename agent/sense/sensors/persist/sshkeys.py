"""Keys that open the accounts of this host: authorized_keys wherever sshd looks for them.

Of a key its kind, SHA-256 fingerprint, comment and options are told; the key itself stays here.
Source: sshd(8) "AUTHORIZED_KEYS FILE FORMAT", sshd_config(5). What sshd takes from a command, or
from a path with tokens other than ``%h %u %U %%``, is said as not read.
"""

import base64
import binascii
import fnmatch
import hashlib
import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, structs

from agent.sense.mechanisms import AUTHORIZED_KEY, AUTHORIZED_KEYS_COMMAND
from agent.sense.sensors.persist.homes import Home, homes
from agent.sense.sensors.persist.items import Entry, Found, line, plain
from agent.sense.sensors.persist.look import Content, Look

CONFIG: Final = "/etc/ssh/sshd_config"
DEFAULT_PATHS: Final = (".ssh/authorized_keys", ".ssh/authorized_keys2")
PATHS_MAX: Final = 16
INCLUDES_MAX: Final = 64
KEYS_A_FILE_MAX: Final = 4096
KEYS_BYTES_MAX: Final = 2 << 20
LINE_BYTES_MAX: Final = 16 * 1024

_LINES_A_SLICE: Final = 512
_TYPE: Final = re.compile(
    rb"(?:ssh-(?:rsa|dss|ed25519|ed448)|ecdsa-sha2-nistp(?:256|384|521)"
    rb"|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com"
    rb"|(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp(?:256|384|521)"
    rb"|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256))-cert-v0[01]@openssh\.com)"
)
_OPTIONS: Final = re.compile(rb'(?:"(?:[^"\\]|\\.)*"|[^\s"])+')
_SETTING: Final = re.compile(rb"\s*([A-Za-z]+)[\s=]+(.*\S)\s*")
_TOKEN: Final = re.compile(r"%(.)")


class Key(Struct, frozen=True):
    """One line of authorized_keys, without the key."""

    kind: str
    sha256: bytes
    options: str
    comment: str

    @property
    def fingerprint(self) -> str:
        """The fingerprint as ssh-keygen(1) writes it."""
        return "SHA256:" + base64.b64encode(self.sha256).decode().rstrip("=")


class Config(Struct, frozen=True):
    """Where sshd looks for keys; a ``Match`` may add to it, so everything named counts."""

    paths: tuple[str, ...]
    commands: tuple[str, ...]


def read(look: Look) -> Iterator[Found | None]:
    """Yield each key of each account."""
    config = read_config(look)
    for command in config.commands:
        entry = Entry(AUTHORIZED_KEYS_COMMAND, command.split()[0], command)
        yield plain(CONFIG, 0, entry, command)
    done: set[str] = set()
    for home in homes(look):
        yield None
        for pattern in config.paths:
            path = expanded(pattern, home)
            if path is None:
                look.cannot(pattern, "has tokens that are not resolved")
                continue
            # A file for everyone is told once; one in a home that is shared, too.
            if path in done or look.resolved(path) is None:
                continue
            done.add(path)
            content = look.file(path, KEYS_BYTES_MAX)
            if content is not None:
                yield from _keys(look, content, home)


def read_config(look: Look) -> Config:
    """Return what sshd's configuration says, with its includes."""
    paths: dict[str, None] = {}
    commands: dict[str, None] = {}
    waiting, seen = [CONFIG], {CONFIG}
    while waiting:
        content = look.file(waiting.pop(0))
        for name, value in _settings(content) if content is not None else ():
            if name == "authorizedkeysfile" and value != "none":
                paths |= dict.fromkeys(value.replace('"', "").split())
            elif name == "authorizedkeyscommand" and value != "none":
                commands[value] = None
            elif name == "include":
                for path in _matching(look, value):
                    if path not in seen and len(seen) < INCLUDES_MAX:
                        seen.add(path)
                        waiting.append(path)
    found = tuple(paths)[:PATHS_MAX] or DEFAULT_PATHS
    return Config(found, tuple(commands)[:PATHS_MAX])


def expanded(pattern: str, home: Home) -> str | None:
    """Return the path of an account's file; None where it has tokens that are not resolved."""
    known = {"h": home.path, "u": home.account.name, "U": str(home.account.uid), "%": "%"}
    if any(token not in known for token in _TOKEN.findall(pattern)):
        return None
    path = _TOKEN.sub(lambda match: known[match[1]], pattern)
    return path if path.startswith("/") else f"{home.path}/{path}"


def parse_key(raw: bytes) -> Key | None:
    """Return what one line says; None where it is no key.

    Args:
        raw: untrusted bytes of a line.
    """
    text = raw[:LINE_BYTES_MAX].strip()
    options = b""
    if not _TYPE.fullmatch(text.split(None, 1)[0] if text else b""):
        found = _OPTIONS.match(text)
        if found is None:
            return None
        options, text = found[0], text[found.end() :].strip()
    words = text.split(None, 2)
    if len(words) < 2 or not _TYPE.fullmatch(words[0]):
        return None
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return None
    if blob[:4] != len(words[0]).to_bytes(4, "big") or blob[4 : 4 + len(words[0])] != words[0]:
        return None
    comment = words[2] if len(words) > 2 else b""
    return Key(
        kind=words[0].decode(),
        sha256=hashlib.sha256(blob).digest(),
        options=options.decode("utf-8", "backslashreplace"),
        comment=comment.decode("utf-8", "backslashreplace"),
    )


def _keys(look: Look, content: Content, home: Home) -> Iterator[Found | None]:
    count = 0
    for number, raw in enumerate(content.lines()):
        if number % _LINES_A_SLICE == _LINES_A_SLICE - 1:
            yield None
        if not raw.strip() or raw.lstrip().startswith(b"#"):
            continue
        key = parse_key(raw)
        count += 1
        if key is None:
            look.odd += 1
            continue
        if count > KEYS_A_FILE_MAX:
            look.cannot(content.path, f"holds more than {KEYS_A_FILE_MAX} keys")
            return
        value = f"type={key.kind} comment={key.comment}"
        if key.options:
            value += f" options={key.options}"
        user = home.account.user if content.path.startswith(f"{home.path}/") else None
        found = line(content, Entry(AUTHORIZED_KEY, key.fingerprint, value, user))
        yield structs.replace(
            found, item=structs.replace(found.item, sha256=key.sha256), identity=""
        )


def _settings(content: Content) -> Iterator[tuple[str, str]]:
    for raw in content.lines():
        found = _SETTING.fullmatch(raw[:LINE_BYTES_MAX])
        if found is not None:
            yield found[1].decode().lower(), found[2].decode("utf-8", "surrogateescape")


def _matching(look: Look, value: str) -> Iterator[str]:
    """Yield the files that an Include names; patterns are for names alone."""
    for pattern in value.replace('"', "").split():
        path = pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"
        directory, _, name = path.rpartition("/")
        if "*" not in name and "?" not in name:
            yield path
            continue
        for found in look.names(directory):
            if fnmatch.fnmatchcase(found, name):
                yield f"{directory}/{found}"
