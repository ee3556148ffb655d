"""Records of auditd: their fields, and what of them is a process or a file to a rule. Pure.

Source: audit-userspace's description of event fields. A value stands in quotes, or in hexadecimal
where it holds what a quoted one may not, or plain.
"""

import re
from collections.abc import Mapping
from typing import Final

from agent.sense.match.sigmaevent import FIELDS_MAX, FieldValue

ARGUMENTS_MAX: Final = 256
LINE_CHARS_MAX: Final = 64 * 1024
_PAIR: Final = re.compile(r"""([\w-]{1,64})=("[^"]*"|'[^']*'|\S+)""", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"(?:[0-9A-F]{2})+", re.ASCII)
_ENCODED: Final = frozenset({"name", "exe", "comm", "cwd", "proctitle", "cmd", "path", "key"})

Fields = Mapping[str, FieldValue]


def fields_of(line: str) -> dict[str, FieldValue]:
    """Return the fields of a line as auditd writes it."""
    found: dict[str, FieldValue] = {}
    for name, value in _PAIR.findall(line[:LINE_CHARS_MAX]):
        if len(found) >= FIELDS_MAX:
            break
        if value[0] in "\"'":
            found.setdefault(name, value[1:-1])
        else:
            found.setdefault(name, _decoded(name, value))
    return found


def _decoded(name: str, value: str) -> str:
    is_text = name in _ENCODED or (name[:1] == "a" and name[1:].isdigit())
    if not is_text or not _HEXADECIMAL.fullmatch(value) or len(value) < 4:
        return value
    return bytes.fromhex(value).replace(b"\0", b" ").decode("utf-8", "replace").rstrip()


def derived(fields: Fields) -> tuple[dict[str, FieldValue], tuple[str, ...]]:
    """Return fields by the names that rules of categories use, and the categories."""
    kind = str(fields.get("type", "")).upper()
    found: dict[str, FieldValue] = {}
    for ours, theirs in (("Image", "exe"), ("CurrentDirectory", "cwd"), ("User", "auid")):
        if fields.get(theirs) is not None:
            found[ours] = fields[theirs]
    if kind == "EXECVE":
        found["CommandLine"] = " ".join(_arguments(fields))
        return found, ("process_creation",)
    if kind == "PATH" and fields.get("name") is not None:
        found["TargetFilename"] = fields["name"]
        return found, _file_categories(str(fields.get("nametype", "")).upper())
    return found, ()


def _arguments(fields: Fields) -> list[str]:
    found = []
    for at in range(ARGUMENTS_MAX):
        value = fields.get(f"a{at}")
        if value is None:
            break
        found.append(str(value))
    return found


def _file_categories(kind: str) -> tuple[str, ...]:
    return {"CREATE": ("file_event",), "DELETE": ("file_delete",)}.get(kind, ())
