"""Settings: a TOML file and environment overrides, decoded once into frozen Structs.

Defaults come first, then the file, then ``PREFIX__SECTION__KEY`` in the environment. A name that
is not known is an error that says which one may have been meant. No secret belongs in settings:
``show`` prints them as they are.
"""

import enum
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from types import UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

import msgspec

from runtime.errors import Fault, VedetteError

FILE_SIZE_BYTES_MAX: Final = 1 << 20
_SHOWN_CHARS_MAX: Final = 80

Tree = dict[str, Any]
S = TypeVar("S", bound=msgspec.Struct)

_WHERE: Final = re.compile(r"(?P<rule>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
_FIELD: Final = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


class BadSettings(VedetteError):
    """A settings file or an override cannot be used.

    Args:
        source: the file or the environment variable.
        rule: what is wrong, or what is required there.
        key: ``section.key``; empty when the whole source is meant.
        value: what was found, as text; empty when nothing was.
        hint: what to do next.
    """

    fault: ClassVar[Fault] = Fault.OPERATOR
    exit_code: ClassVar[int] = 4

    def __init__(
        self, source: str, rule: str, *, key: str = "", value: str = "", hint: str = ""
    ) -> None:
        setting = f": {key}" if key else ""
        found = f" = {value}" if value else ""
        super().__init__(f"{source}{setting}{found}: {rule}", hint=hint)
        self.source = source
        self.rule = rule
        self.key = key
        self.value = value


def load(
    shape: type[S],
    path: Path | None,
    env: Mapping[str, str],
    *,
    prefix: str = "VEDETTE",
    missing_ok: bool = True,
) -> S:
    """Return the settings in effect.

    Args:
        shape: a frozen Struct whose fields are sections, Structs themselves.
        path: the TOML file; None for no file.
        env: the process environment.
        prefix: overrides are named ``PREFIX__SECTION__KEY``.
        missing_ok: a file that does not exist means defaults.

    Raises:
        BadSettings: names the source, the key, the value and the rule it breaks.
    """
    tree = _read(path, missing_ok=missing_ok) if path is not None else {}
    sources: dict[tuple[str, ...], str] = {(): str(path or "settings")}
    for name in sorted(env):
        if name.startswith(f"{prefix}__"):
            keys = tuple(name.removeprefix(f"{prefix}__").lower().split("__"))
            _override(shape, tree, keys, name, env[name])
            sources[keys] = name
    try:
        return msgspec.convert(tree, shape, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        problem = _explained(error, shape, tree, sources)
        raise problem from error


def show(settings: msgspec.Struct) -> str:
    """Return the settings as TOML text that ``load`` reads back as they are."""
    lines = _table((), msgspec.to_builtins(settings, enc_hook=str))
    return "\n".join(lines).lstrip("\n") + "\n"


def _read(path: Path, *, missing_ok: bool) -> Tree:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_SIZE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        if missing_ok:
            return {}
        raise BadSettings(str(path), "no such file") from error
    except OSError as error:
        raise BadSettings(str(path), f"cannot be read: {error.strerror}") from error
    if len(data) > FILE_SIZE_BYTES_MAX:
        raise BadSettings(str(path), f"larger than {FILE_SIZE_BYTES_MAX} bytes")
    try:
        return tomllib.loads(data.decode())
    except ValueError as error:
        raise BadSettings(str(path), f"is not TOML: {error}") from error
    except RecursionError as error:
        raise BadSettings(str(path), "is nested too deeply") from error


def _override(shape: object, tree: Tree, keys: Sequence[str], name: str, text: str) -> None:
    """Put the value of one environment variable at its place in the tree."""
    kind = shape
    node = tree
    for depth, key in enumerate(keys, start=1):
        dotted = ".".join(keys[:depth])
        section, kind = kind, _child(kind, key)
        if kind is None:
            raise BadSettings(name, "unknown key", key=dotted, hint=_nearest(key, section))
        if depth == len(keys):
            node[key] = _typed(text, kind, name, dotted)
        elif isinstance(below := node.setdefault(key, {}), dict):
            node = below
        else:
            raise BadSettings(name, "is not a section in the file", key=dotted)


def _typed(text: str, kind: object, name: str, key: str) -> object:
    """Read the text as the setting's type, or as a TOML value (lists, tables) of that type."""
    try:
        return _converted(text, kind)
    except msgspec.ValidationError as error:
        try:
            return _converted(tomllib.loads(f"value = {text}")["value"], kind)
        except (ValueError, RecursionError):
            rule = _rule(error)[0]
    raise BadSettings(name, rule, key=key, value=_shown(text))


def _converted(value: object, kind: object) -> object:
    typed = msgspec.convert(value, kind, strict=False, dec_hook=_from_text)
    return msgspec.to_builtins(typed, enc_hook=str)


def _from_text(kind: type, value: object) -> object:
    """Read the one type beyond msgspec's own that settings use."""
    if issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    raise TypeError(f"Expected `str`, got `{type(value).__name__}`")


def _options(kind: object) -> Iterator[object]:
    """Yield the members of a union, without their annotations."""
    if get_origin(kind) is Annotated:
        yield from _options(get_args(kind)[0])
    elif get_origin(kind) in {Union, UnionType}:
        for member in get_args(kind):
            yield from _options(member)
    else:
        yield kind


def _fields(kind: object) -> dict[str, object]:
    """Return name and type of each key that a section knows."""
    return {
        field.encode_name: field.type
        for option in _options(kind)
        if isinstance(option, type) and issubclass(option, msgspec.Struct)
        for field in msgspec.structs.fields(option)
    }


def _child(kind: object, key: str) -> object:
    """Return the type below a key or an index; None where there is none."""
    for option in _options(kind):
        origin = get_origin(option)
        if origin is dict:
            return get_args(option)[1]
        if origin in {list, tuple}:
            return get_args(option)[0]
    return _fields(kind).get(key)


def _nearest(name: str, section: object) -> str:
    known = sorted(_fields(section))
    import difflib  # noqa: PLC0415  (only a mistake pays for it)

    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known keys: {', '.join(known)}" if known else ""


def _rule(error: msgspec.ValidationError) -> tuple[str, str]:
    """Split msgspec's message into the rule and the place."""
    found = _WHERE.fullmatch(str(error))
    return (found["rule"], found["path"] or "") if found else (str(error), "")


def _explained(
    error: msgspec.ValidationError,
    shape: object,
    tree: Tree,
    sources: Mapping[tuple[str, ...], str],
) -> BadSettings:
    rule, path = _rule(error)
    keys, kind, value = _walk(shape, tree, path)
    hint = ""
    if field := _FIELD.fullmatch(rule):
        keys.append(field[2])
        value = value.get(field[2]) if isinstance(value, dict) else None
        unknown = field[1] == "contains unknown"
        rule = "unknown key" if unknown else "is required"
        hint = _nearest(field[2], kind) if unknown else ""
    elif rule.startswith("Invalid"):
        choices = ", ".join(_choices(kind, shape, tree, path))
        hint = f"one of: {choices}" if choices else ""
    at = max((prefix for prefix in sources if tuple(keys[: len(prefix)]) == prefix), key=len)
    shown = _shown(value) if value is not None else ""
    return BadSettings(sources[at], rule, key=".".join(keys), value=shown, hint=hint)


def _choices(kind: object, shape: object, tree: Tree, path: str) -> Iterator[str]:
    """Yield what a key may be set to, where that is a closed set."""
    section, _, name = path.rpartition(".")
    if kind is None:
        # The key that names which of several tables this one is.
        for option in _options(_walk(shape, tree, section)[1]):
            config = getattr(option, "__struct_config__", None)
            if config is not None and config.tag_field == name:
                yield str(config.tag)
    for option in _options(kind):
        if get_origin(option) is Literal:
            yield from map(str, get_args(option))
        elif isinstance(option, type) and issubclass(option, enum.Enum):
            yield from (str(member.value) for member in option)


def _walk(kind: object, value: object, path: str) -> tuple[list[str], object, object]:
    """Follow msgspec's path to the keys, the type and the value it speaks of."""
    keys: list[str] = []
    for name, index in _STEP.findall(path):
        kind = _child(kind, name)
        if isinstance(value, list):
            keys.append(f"[{index}]")
            value = value[int(index)] if index.isdigit() else value
        else:
            entries = value if isinstance(value, dict) else {}
            key = name or _failing(entries, kind)
            keys.append(key)
            value = entries.get(key)
    return keys, kind, value


def _failing(entries: Tree, kind: object) -> str:
    """Return the key of the first entry that is not of the type; msgspec's path omits it."""
    for key, entry in entries.items():
        try:
            msgspec.convert(entry, kind, dec_hook=_from_text)
        except msgspec.ValidationError:
            return key
    return "..."


def _shown(value: object) -> str:
    text = _value(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}..."


def _table(keys: tuple[str, ...], tree: Tree) -> Iterator[str]:
    """Yield the lines of one table: its own keys first, then the tables below it."""
    tables = {key: value for key, value in tree.items() if isinstance(value, dict)}
    if keys and (len(tables) < len(tree) or not tree):
        yield ""
        yield f"[{'.'.join(map(_key, keys))}]"
    for key, value in tree.items():
        if value is None:
            yield f"# {_key(key)} is not set"
        elif key not in tables:
            yield f"{_key(key)} = {_value(value)}"
    for key, table in tables.items():
        yield from _table((*keys, key), table)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _value(name)


def _value(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case dict():
            pairs = (f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
            return f"{{{', '.join(pairs)}}}"
        case _:
            return str(value)
