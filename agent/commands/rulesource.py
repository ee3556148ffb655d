"""Rules for a command: a compiled file, or Sigma where the collector's compiler is installed.

The agent has no parser for what people write. The compiler runs as a process of its own, and what
it writes is read like any other rule file: nothing is taken on its word.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar, Final

from agent.commands.common import say
from proto.content.rules import FILE_BYTES_MAX, RuleSet
from proto.content.rulesfile import is_rule_file, read
from runtime.errors import Fault, VedetteError

COMPILER: Final = "vedette-collector"
COMPILE_S_MAX: Final = 1200
_TOLD_CHARS_MAX: Final = 64 * 1024
# Done, or done but for some rules, each of which it has named.
_GOOD: Final = frozenset({0, 3})


class NoRules(VedetteError):
    """What was named holds no rules, or nothing here can compile them."""

    fault: ClassVar[Fault] = Fault.OPERATOR


def rules_at(place: Path) -> RuleSet:
    """Return the rules of a compiled file, or those of a directory or file of Sigma rules.

    Raises:
        ContentError: the file is damaged, or newer than this program.
        NoRules: it is no rule file, and there is no compiler or it gave none.
        OSError: it cannot be read.
    """
    if place.is_file():
        with place.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if is_rule_file(data) or place.suffix not in {".yml", ".yaml"}:
            return read(data)
    elif not place.is_dir():
        raise NoRules(f"{place}: no such file or directory")
    with tempfile.TemporaryDirectory(prefix="vedette-rules-") as folder:
        out = Path(folder) / "content.vdr"
        _compile(place, out)
        return read(out.read_bytes())


def compiler() -> str | None:
    """Return the program that compiles: beside this one, or on the path; None without any."""
    beside = Path(sys.executable).with_name(COMPILER)
    return str(beside) if beside.is_file() else shutil.which(COMPILER)


def _compile(place: Path, out: Path) -> None:
    program = compiler()
    if program is None:
        raise NoRules(
            f"{place}: Sigma rules have to be compiled, and {COMPILER} is not installed here",
            hint=f"where it is: {COMPILER} content compile --sigma DIR --out content.vdr",
        )
    words = [program, "content", "compile", "--sigma", str(place), "--out", str(out)]
    try:
        done = subprocess.run(words, capture_output=True, check=False, timeout=COMPILE_S_MAX)
    except subprocess.TimeoutExpired as error:
        raise NoRules(f"{place}: the compiler was not done after {COMPILE_S_MAX} s") from error
    told = done.stderr.decode("utf-8", "replace")[:_TOLD_CHARS_MAX].strip()
    if done.returncode not in _GOOD or not out.is_file():
        raise NoRules(f"{place}: {told or f'the compiler ended with {done.returncode}'}")
    for line in told.splitlines():
        say(line)
