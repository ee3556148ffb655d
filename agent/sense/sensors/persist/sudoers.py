"""Who may act as whom: sudoers with all that it includes, one entry a rule or setting.

Source: sudoers(5): lines go on after a backslash; ``#`` begins a comment unless digits follow;
``@include`` and ``@includedir`` (or ``#``) lead to other files, relative ones beside this one; of a
directory files whose name ends in ``~`` or has a dot are passed over.
"""

import re
from collections.abc import Iterator
from typing import Final

from agent.hosttext import host_text
from agent.sense.mechanisms import SUDOERS_RULE, SUDOERS_SETTING
from agent.sense.sensors.persist.items import NAME_CHARS_MAX, Entry, Found, line
from agent.sense.sensors.persist.look import Content, Look
from proto.model import User

SUDOERS: Final = "/etc/sudoers"
FILES_MAX: Final = 256
LINE_BYTES_MAX: Final = 64 * 1024

_INCLUDE: Final = re.compile(rb"[#@](include|includedir)\s+(\S.*)")
_COMMENT: Final = re.compile(rb"""("(?:[^"\\]|\\.)*"|\\.|[^#"\\]|"|\\|#(?=\d+\b))*""", re.DOTALL)
_SETTING: Final = re.compile(r"(Defaults\S*|(?:User|Runas|Host|Cmnd|Cmd)_Alias)(?:\s|$)")
_NAME: Final = re.compile(r'"[^"]*"|[^\s="]+')


def read(look: Look) -> Iterator[Found | None]:
    """Yield a rule or a setting for each line that is one."""
    waiting, seen = [SUDOERS], {SUDOERS}
    while waiting:
        path = waiting.pop(0)
        yield None
        content = look.file(path)
        if content is None:
            continue
        for text in logical_lines(content):
            include = _INCLUDE.fullmatch(text)
            if include is None:
                yield from _entries(content, text)
                continue
            for inner in _included(look, path, include[1], include[2]):
                if inner not in seen and len(seen) < FILES_MAX:
                    seen.add(inner)
                    waiting.append(inner)
                elif inner not in seen:
                    look.cannot(inner, f"is beyond {FILES_MAX} included files")


def logical_lines(content: Content) -> Iterator[bytes]:
    """Yield lines put together at their backslashes, without comments and outer white space."""
    parts: list[bytes] = []
    size = 0
    for raw in content.lines():
        goes_on = raw.endswith(b"\\") and size < LINE_BYTES_MAX
        parts.append(raw[:-1] if goes_on else raw)
        size += len(raw)
        if goes_on:
            continue
        text = b" ".join(parts).strip()[:LINE_BYTES_MAX]
        parts, size = [], 0
        if not text:
            continue
        text = text if _INCLUDE.fullmatch(text) else _without_comment(text)
        if text:
            yield text


def _without_comment(text: bytes) -> bytes:
    if b"#" not in text:
        return text
    kept = _COMMENT.match(text)
    return kept[0].strip() if kept else text


def _included(look: Look, path: str, how: bytes, raw: bytes) -> Iterator[str]:
    target = raw.decode("utf-8", "surrogateescape").strip().strip('"').replace("\\ ", " ")
    if "%h" in target:
        look.cannot(target, "is named for the host, which is not resolved")
        return
    if not target.startswith("/"):
        target = f"{path.rpartition('/')[0]}/{target}"
    if how == b"include":
        yield target
        return
    for name in look.names(target.rstrip("/")):
        if not name.endswith("~") and "." not in name:
            yield f"{target.rstrip('/')}/{name}"


def _entries(content: Content, text: bytes) -> Iterator[Found]:
    words = " ".join(text.decode("utf-8", "backslashreplace").split())
    setting = _SETTING.match(words)
    if setting is not None:
        yield line(content, Entry(SUDOERS_SETTING, setting[1], words))
        return
    name = _NAME.match(words)
    if name is None or "=" not in words:
        return
    who = name[0].strip('"')
    is_user = who[:1] not in {"%", "#", "+", "!"} and "," not in who and who != "ALL"
    user = User(name=host_text(who, NAME_CHARS_MAX)) if is_user else None
    yield line(content, Entry(SUDOERS_RULE, who, words, user))
