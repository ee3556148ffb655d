"""Rule documents from files: bounded before anything is built of them.

YAML is parsed by libyaml into events first, and these are counted: a document that is too deep, too
large or made of aliases is refused by name, and never becomes a tree.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from msgspec import Struct
from sigma.rule.base import SigmaYAMLLoader

from collector.content.errors import RuleRefused, RulesUnreadable

FILE_BYTES_MAX: Final = 1024 * 1024
FILES_MAX: Final = 20_000
DOCUMENTS_MAX: Final = 64
DEPTH_MAX: Final = 24
NODES_MAX: Final = 50_000
ALIASES_MAX: Final = 64
SUFFIXES: Final = frozenset({".yml", ".yaml"})

_OPENING: Final = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSING: Final = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


class SourceFile(Struct, frozen=True):
    """A file of rules, as it was read."""

    name: str
    data: bytes


def source_files(place: Path) -> Iterator[SourceFile]:
    """Yield the files of rules at a place, a directory or a file, in the order of their names.

    Raises:
        RulesUnreadable: there are none, too many, or one cannot be read.
    """
    try:
        paths = [place] if place.is_file() else sorted(_below(place))
    except OSError as error:
        raise RulesUnreadable(f"{place}: {error.strerror}") from error
    if not paths or len(paths) > FILES_MAX:
        what = "no rules (.yml)" if not paths else f"more than {FILES_MAX} files"
        raise RulesUnreadable(f"{place}: {what}", hint="name a directory of Sigma rules")
    for path in paths:
        try:
            with path.open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise RulesUnreadable(f"{path}: {error.strerror}") from error
        yield SourceFile(path.name if path == place else str(path.relative_to(place)), data)


def _below(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.suffix in SUFFIXES and path.is_file()]


def documents(source: SourceFile) -> list[dict[str, Any]]:
    """Return the documents of a file.

    Raises:
        RuleRefused: it is no YAML, no mapping, or passes a limit.
    """
    if len(source.data) > FILE_BYTES_MAX:
        raise RuleRefused(f"a file of more than {FILE_BYTES_MAX} bytes")
    try:
        _measure(source.data)
        found = list(yaml.load_all(source.data, Loader=SigmaYAMLLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise RuleRefused(f"not YAML: {error.problem}{where}") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise RuleRefused(f"not YAML: {error}") from error
    kept = [document for document in found if document is not None]
    if not kept or not all(isinstance(document, dict) for document in kept):
        raise RuleRefused("not a rule: a document that is no mapping")
    return kept


def _measure(data: bytes) -> None:
    """Count what a document is made of.

    Raises:
        RuleRefused: it passes a limit.
    """
    depth = aliases = found = 0
    for nodes, event in enumerate(yaml.parse(data, Loader=yaml.CSafeLoader)):
        found += isinstance(event, yaml.DocumentStartEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        depth += isinstance(event, _OPENING) - isinstance(event, _CLOSING)
        if depth > DEPTH_MAX:
            raise RuleRefused(f"deeper than {DEPTH_MAX} levels")
        if nodes > NODES_MAX or aliases > ALIASES_MAX or found > DOCUMENTS_MAX:
            raise RuleRefused("more nodes, aliases or documents than a file may have")
