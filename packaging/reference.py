"""Write the reference pages of docs/reference from the code, or check that they are what it says.

    python packaging/reference.py           write docs/reference/*.md
    python packaging/reference.py --check   exit 1 and name every page that differs

Commands come from the parsers, keys from the settings structs with the comment above each field,
metrics from the tables that the daemons serve.
"""

import argparse
import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct
from msgspec.inspect import (
    BoolType,
    DictType,
    EnumType,
    FloatType,
    IntType,
    LiteralType,
    StrType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent import DEFAULT_PATH as AGENT_PATH  # noqa: E402 - found through the line above, as all of these
from agent import cli as agent_cli  # noqa: E402
from agent.config import AgentSettings  # noqa: E402
from agent.sense import profiles  # noqa: E402
from agent.sense.listing import TABLES as AGENT_TABLES  # noqa: E402
from agent.sense.match import persistencerules  # noqa: E402
from agent.ship.metrics import METRICS as AGENT_METRICS  # noqa: E402
from collector import cli as collector_cli  # noqa: E402
from collector.console import metrics as collector_metrics  # noqa: E402
from collector.settings import DEFAULT_PATH as COLLECTOR_PATH  # noqa: E402
from collector.settings import CollectorSettings  # noqa: E402
from vedette import cli as vedette_cli  # noqa: E402

FOLDER = "docs/reference"
HEAD = "<!-- Written by packaging/reference.py: change the code, then run it. -->"

CLI = """\
# Commands

Results go to standard output, everything else to standard error. Exit codes: 0 ok, 1 failure,
2 usage, 3 unhealthy or findings present, 4 bad configuration, 5 peer unreachable, 6 identity
refused, 7 locked. `--json` prints one JSON object a line.
"""

CONFIGURATION = """\
# Configuration

Each daemon reads one TOML file. A section, key or value that is not known is refused at start with
file, key and rule (exit code 4). `VEDETTE__SECTION__KEY` in the environment overrides a key. No
secret stands in a file: it names the file that holds one.
"""

METRICS = """\
# Metrics

Prometheus text. The agent serves its own on `127.0.0.1:6613/metrics`, the collector on
`127.0.0.1:6612/metrics`. Labels are bounded: none carries a value that a host chose.
"""


PROFILES = """\
# Profiles

`[sense] profile` says what the privileged half may do on a host; the unit, or root, has to grant
it. `vedette-sense.service` is the profile `standard`; for another, copy its drop-in and restart:

```sh
sudo install -D -m 644 /usr/lib/vedette/agent/systemd/full.conf \\
    /etc/systemd/system/vedette-sense.service.d/profile.conf
sudo systemctl daemon-reload && sudo systemctl restart vedette-sense
```

A profile is a ceiling. Each source is tried, not guessed, and a finding carries the rung it came
from. A process that holds less than its profile says so in a signed health record and in
`vedette-agent doctor`, and goes on with what it has.
"""


INTERVALS = """\
# Intervals of an idle agent

Most of what an agent does is done when the kernel says that something happened. This is what it
does besides, by the clock, on a host on which nothing happens. `python -m bench footprint` measures
the agent with these.
"""


TABLES_TEXT = """\
# Tables of a host

`vedette-agent ls TABLE` reads each when it is asked for. `--json` prints every column, one JSON
object a row: a value that was looked for and is not there is `null`, one that was not collected is
absent. Without it a person sees the columns marked here.
"""


PERSISTENCE = f"""\
# Findings of persistence

The `persistence` sensor tells what is run, trusted or privileged on a host without being asked
again. What stood when it first looked is inventory; what comes or changes later is a finding, with
a technique of MITRE ATT&CK {persistencerules.ATTACK_VERSION}. Where a rule has a severity for what
stood, that opens a finding too, and its removal closes it.

A new or changed entry whose file a Debian package brought and nobody touched since is
`informational`; one that cannot be compared with its package is `low` at most.
"""


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    return {
        "cli.md": _page(_cli()),
        "configuration.md": _page(_configuration()),
        "intervals.md": _page(_intervals()),
        "metrics.md": _page(_metrics()),
        "persistence.md": _page(_persistence()),
        "profiles.md": _page(_profiles()),
        "tables.md": _page(_tables()),
    }


def _page(lines: Iterator[str]) -> str:
    return "\n".join([HEAD, "", *lines]).rstrip() + "\n"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield f"| {' | '.join(heads)} |"
        yield "|" + "---|" * len(heads)
        for row in rows:
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
        yield ""


# ------------------------------------------------------------------------------------- profiles


def _profiles() -> Iterator[str]:
    yield PROFILES
    rows = [
        (f"`{p.name}`", _names(p.keeps), _names(p.start_only)) for p in profiles.PROFILES.values()
    ]
    yield from _table(("profile", "holds", "only until its sources are open"), rows)
    yield from ("## What a capability is for", "")
    yield from _table(
        ("capability", "without it is missing"),
        [(f"`{name}`", text) for name, text in profiles.PURPOSES.items()],
    )
    yield from ("## What each sensor sees", "")
    yield from _table(
        ("sensor", *profiles.PROFILES),
        [
            (f"`{name}`", *(getattr(reach, p) or "does not run" for p in profiles.PROFILES))
            for name, reach in profiles.REACH.items()
        ],
    )


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


# ---------------------------------------------------------------------------------- persistence


def _persistence() -> Iterator[str]:
    yield PERSISTENCE
    rows = []
    for mechanism in sorted({*persistencerules.NEW_RULES, *persistencerules.SPECIAL_RULES}):
        for made in (
            persistencerules.NEW_RULES.get(mechanism),
            persistencerules.SPECIAL_RULES.get(mechanism),
        ):
            if made is not None:
                stood = made.standing.value if made.standing is not None else ""
                named = f"`{made.rule.id}`", made.title, made.severity.value, stood
                rows.append((f"`{mechanism}`", *named, made.attack.technique))
    heads = ("mechanism", "rule", "finding", "severity", "if it stood", "technique")
    yield from _table(heads, rows)


# --------------------------------------------------------------------------------------- tables


def _tables() -> Iterator[str]:
    yield TABLES_TEXT
    for name, table in AGENT_TABLES.items():
        yield from (f"## {name}", "", _sentence(table.text), "")
        shown = table.shown or tuple(table.columns)
        rows = [
            (f"`{column}`", _sentence(text), "yes" if column in shown else "")
            for column, text in table.columns.items()
        ]
        yield from _table(("column", "meaning", "for people"), rows)


# ------------------------------------------------------------------------------------- commands


def _cli() -> Iterator[str]:
    yield CLI
    yield from _program("vedette-agent", agent_cli.parser, tuple(agent_cli.COMMANDS))
    yield from _program("vedette-collector", collector_cli.parser, tuple(collector_cli.COMMANDS))
    yield from _program("vedette", lambda _: vedette_cli.parser(), ("demo", "verify"))


def _program(
    name: str, parser: Callable[[str], argparse.ArgumentParser], commands: tuple[str, ...]
) -> Iterator[str]:
    yield from (f"## {name}", "", f"{parser(commands[0]).description}", "")
    for command in commands:
        yield from _command(f"{name} {command}", _below(parser(command), command))


def _below(parser: argparse.ArgumentParser, command: str) -> argparse.ArgumentParser:
    for action in _actions(parser):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - it has no public name
            found = action.choices[command]
            if isinstance(found, argparse.ArgumentParser):
                return found
    raise LookupError(command)


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 - argparse tells of its options in no other way


def _command(title: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from (f"### {title}", "", _sentence(parser.description or ""), "")
    shown = [a for a in _actions(parser) if "--help" not in a.option_strings]
    rows = []
    for action in shown:
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            rows += [(f"`{c.dest}`", _sentence(c.help or "")) for c in action._choices_actions]  # noqa: SLF001
        else:
            rows.append((f"`{_spelling(action)}`", _sentence(_help(action))))
    yield from _table(("argument", "meaning"), rows)
    example = (parser.epilog or "").partition("example:")[2].partition("\n\n")[0]
    if example.strip():
        yield from ("```sh", textwrap.dedent(example).strip(), "```", "")


def _spelling(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings)
    value = action.metavar or (action.dest.upper() if name else action.dest)
    if action.choices is not None and action.metavar is None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    if not name:
        return f"[{value}]" if action.nargs in {"?", "*"} else str(value)
    return name if action.nargs == 0 else f"{name} {value}"


def _help(action: argparse.Action) -> str:
    return (action.help or "") % {"default": action.default, "prog": ""}


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!")) or not text else ".")


# ---------------------------------------------------------------------------------------- keys


def _configuration() -> Iterator[str]:
    yield CONFIGURATION
    for program, path, settings in (
        ("vedette-agent", AGENT_PATH, AgentSettings),
        ("vedette-collector", COLLECTOR_PATH, CollectorSettings),
    ):
        yield from (f"## {program}: `{path}`", "")
        yield from keys(settings, "")


def keys(struct: type[Struct], path: str) -> Iterator[str]:
    """Yield the tables of a section and of those below it.

    Args:
        struct: its settings.
        path: the section's name; empty for the whole file.
    """
    info = type_info(struct)
    rows: list[tuple[str, ...]] = []
    below: list[tuple[str, list[type[Struct]]]] = []
    for field in info.fields if isinstance(info, StructType) else ():
        key = f"{path}.{field.encode_name}".lstrip(".")
        sections = list(_structs(field.type))
        if sections:
            is_list = isinstance(field.type, VarTupleType)
            below.append((f"[[{key}]]" if is_list else f"[{key}]", sections))
        else:
            rows.append(_key_row(struct, field))
    yield from _table(("key", "value", "default", "meaning"), rows)
    for heading, structs in below:
        for one in structs:
            tag = one.__struct_config__.tag
            kind = f', `type = "{tag}"`' if isinstance(tag, str) else ""
            yield from (f"### `{heading}`{kind}", "", _first_paragraph(one), "")
            yield from keys(one, heading.strip("[]"))


def _intervals() -> Iterator[str]:
    yield INTERVALS
    heads = ("section", "key", "every", "meaning")
    yield from _table(heads, list(_interval_rows(AgentSettings, "")))


def _interval_rows(struct: type[Struct], path: str) -> Iterator[tuple[str, ...]]:
    info = type_info(struct)
    for field in info.fields if isinstance(info, StructType) else ():
        key = f"{path}.{field.encode_name}".lstrip(".")
        for section in _structs(field.type):
            yield from _interval_rows(section, key)
        if field.name.endswith(("interval_s", "keepalive_s")):
            every = f"{field.default:,} s"
            yield f"`[{path}]`", f"`{field.name}`", every, _comment(struct, field.name)


def _key_row(struct: type[Struct], field: msgspec.inspect.Field) -> tuple[str, ...]:
    default = "required" if field.required else f"`{json.dumps(_plain(field.default))}`"
    return f"`{field.encode_name}`", _value(field.type), default, _comment(struct, field.name)


def _plain(value: object) -> object:
    return None if value is UNSET else msgspec.to_builtins(value)


def _structs(kind: Type) -> Iterator[type[Struct]]:
    if isinstance(kind, StructType):
        yield kind.cls
    elif isinstance(kind, VarTupleType):
        yield from _structs(kind.item_type)
    elif isinstance(kind, UnionType):
        for member in kind.types:
            yield from _structs(member)


def _value(kind: Type) -> str:
    match kind:
        case BoolType():
            return "`true` or `false`"
        case IntType() | FloatType():
            name = "integer" if isinstance(kind, IntType) else "number"
            return " ".join([name, *_bounds(kind)])
        case StrType():
            return "text" + (f", at most {kind.max_length}" if kind.max_length else "")
        case LiteralType():
            return ", ".join(f"`{value}`" for value in kind.values)
        case EnumType():
            return ", ".join(f"`{member.value}`" for member in kind.cls)
        case VarTupleType():
            return f"list of {_value(kind.item_type)}"
        case DictType():
            return f"table of {_value(kind.value_type)}"
        case UnionType():
            return " or ".join(_value(member) for member in kind.types)
        case _:
            return type(kind).__name__.removesuffix("Type").lower()


def _bounds(kind: IntType | FloatType) -> Iterator[str]:
    if kind.ge is not None and kind.le is not None:
        yield f"{kind.ge:,} to {kind.le:,}"
        return
    for word, bound in (
        ("above", kind.gt),
        ("from", kind.ge),
        ("below", kind.lt),
        ("up to", kind.le),
    ):
        if bound is not None:
            yield f"{word} {bound:,}"


def _first_paragraph(struct: type[Struct]) -> str:
    return " ".join((inspect.getdoc(struct) or "").partition("\n\n")[0].split())


def _comment(struct: type[Struct], name: str) -> str:
    """Return the comment that stands above a field, wherever it was first declared."""
    for owner in struct.__mro__:
        if issubclass(owner, Struct) and owner is not Struct and name in _comments(owner):
            return _comments(owner)[name]
    return ""


@cache
def _comments(struct: type) -> dict[str, str]:
    lines = textwrap.dedent(inspect.getsource(struct)).splitlines()
    (node,) = ast.parse("\n".join(lines)).body
    found = {}
    for item in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            words: list[str] = []
            at = item.lineno - 2
            while lines[at].strip().startswith("#"):
                words.insert(0, lines[at].strip().lstrip("# "))
                at -= 1
            found[item.target.id] = " ".join(words)
    return found


# ------------------------------------------------------------------------------------- metrics


def _metrics() -> Iterator[str]:
    yield from (METRICS, "## vedette-agent", "")
    rows = [(f"`{name}`", kind, text) for name, (kind, text) in AGENT_METRICS.items()]
    yield from _table(("name", "type", "meaning"), rows)
    yield from ("## vedette-collector", "")
    yield from _table(
        ("name", "type", "labels", "meaning"),
        [
            (
                f"`{collector_metrics.PREFIX}{name}`",
                spec.kind,
                ", ".join(f"`{label}`" for label in spec.labels),
                _sentence(spec.help),
            )
            for name, spec in collector_metrics.METRICS.items()
        ],
    )


def main(argv: list[str]) -> int:
    """Write the pages, or with ``--check`` name those that differ."""
    folder = ROOT / FOLDER
    stale = []
    for name, text in pages().items():
        path = folder / name
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(f"{FOLDER}/{name}")
            if "--check" not in argv:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
    if "--check" in argv and stale:
        print(f"not what the code says: {', '.join(stale)}; run packaging/reference.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
