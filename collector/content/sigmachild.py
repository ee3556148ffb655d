"""Rules compiled in a process of its own, with limits of time, memory and output.

The parser is trusted and what it reads is not: whatever it runs into, the collector goes on and
says so. ``python -m collector.content.sigmachild DIR [PLACEHOLDERS]`` writes one answer in
MessagePack.
"""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from collector.content.errors import CompileError, CompilerStopped, RulesUnreadable
from proto.content.errors import ContentError
from proto.content.rules import FILE_BYTES_MAX

MEMORY_BYTES_MAX: Final = 2 * 1024 * 1024 * 1024
CPU_S_MAX: Final = 600
WAIT_S_MAX: Final = 900
OPEN_FILES_MAX: Final = 64
ANSWER_BYTES_MAX: Final = FILE_BYTES_MAX + 16 * 1024 * 1024
PLACEHOLDERS_BYTES_MAX: Final = 1024 * 1024

Placeholders = dict[str, list[str]]


class Remark(Struct, frozen=True):
    """What is said of one rule: see `collector.content.sigma.Report`."""

    rule: str
    file: str
    state: str
    reason: str


class Answer(Struct, frozen=True):
    """What the process hands back: a rule file, or why there is none.

    Args:
        data: the rule file; empty where there is none.
        rules: how many are in it.
        predicates: how many they share.
        filters: how many tuning documents were read.
        remarks: what is to be said of single rules.
        error: why there is no file; empty where there is.
        hint: what to do about it.
    """

    data: bytes = b""
    rules: int = 0
    predicates: int = 0
    filters: int = 0
    remarks: tuple[Remark, ...] = ()
    error: str = ""
    hint: str = ""


def compile_apart(place: Path, placeholders: Path | None = None) -> Answer:
    """Return what becomes of the rules at a place.

    Args:
        place: a directory or a file of Sigma rules; untrusted.
        placeholders: a JSON object of names and the lists of values that stand for them.

    Raises:
        CompilerStopped: the process passed a limit or crashed.
        RulesUnreadable: there is nothing to compile, or nothing that compiles.
    """
    words = [sys.executable, "-m", "collector.content.sigmachild", str(place)]
    words += [str(placeholders)] if placeholders else []
    try:
        done = subprocess.run(words, capture_output=True, check=False, timeout=WAIT_S_MAX)
    except subprocess.TimeoutExpired as error:
        raise CompilerStopped(f"the compiler was not done after {WAIT_S_MAX} s") from error
    answer = _answer(done.stdout, done.returncode)
    if answer.error:
        raise RulesUnreadable(answer.error, hint=answer.hint)
    return answer


def _answer(said: bytes, code: int) -> Answer:
    hint = "compile the rules in smaller parts to find the one that does this"
    if code < 0:
        raise CompilerStopped(f"the compiler was ended by signal {-code}", hint=hint)
    if code or len(said) > ANSWER_BYTES_MAX:
        raise CompilerStopped(f"the compiler ended with {code} and without an answer", hint=hint)
    try:
        return msgspec.msgpack.decode(said, type=Answer)
    except msgspec.DecodeError as error:
        raise CompilerStopped("the compiler's answer makes no sense", hint=hint) from error


def read_placeholders(path: Path) -> Placeholders:
    """Return the values of placeholders.

    Raises:
        RulesUnreadable: the file is not an object of lists of texts.
    """
    try:
        data = path.read_bytes()[: PLACEHOLDERS_BYTES_MAX + 1]
        if len(data) > PLACEHOLDERS_BYTES_MAX:
            raise RulesUnreadable(f"{path}: more than {PLACEHOLDERS_BYTES_MAX} bytes")
        return msgspec.json.decode(data, type=Placeholders)
    except OSError as error:
        raise RulesUnreadable(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise RulesUnreadable(
            f"{path}: {error}", hint='write {"name": ["value", "value"]}'
        ) from error


# --------------------------------------------------------------------------- in the process apart


def answer_for(place: Path, placeholders: Path | None) -> Answer:
    """Compile here and return the answer."""
    # Neither the parser nor YAML is ever loaded where a collector runs.
    from collector.content.sigma import compile_rules  # noqa: PLC0415
    from collector.content.sigmayaml import source_files  # noqa: PLC0415
    from proto.content.rulesfile import written  # noqa: PLC0415

    try:
        values = read_placeholders(placeholders) if placeholders else {}
        made = compile_rules(source_files(place), values)
        data = written(made.rules)
    except (CompileError, ContentError) as error:
        return Answer(error=error.message, hint=error.hint)
    remarks = tuple(Remark(one.rule, one.file, one.state, one.reason) for one in made.reports)
    return Answer(data, len(made.rules.rules), len(made.rules.predicates), made.filters, remarks)


def _limit() -> None:
    for what, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES_MAX),
        (resource.RLIMIT_CPU, CPU_S_MAX),
        (resource.RLIMIT_NOFILE, OPEN_FILES_MAX),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (allowed, allowed))


def main(words: list[str]) -> int:
    """Answer on standard output; what goes wrong in the parser ends the process and says so."""
    _limit()
    place, placeholders = Path(words[0]), Path(words[1]) if len(words) > 1 else None
    sys.stdout.buffer.write(msgspec.msgpack.encode(answer_for(place, placeholders)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
