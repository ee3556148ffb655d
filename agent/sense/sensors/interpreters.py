"""Which file an interpreter was told to run, from its name and arguments alone.

``python3 -u job.py`` runs job.py; ``python3 -c ...`` and ``bash`` alone run none. What cannot be
told apart without asking the interpreter is no script.
"""

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct


class Options(Struct, frozen=True):
    """How a family of interpreters reads its options.

    ``valued`` take the next word, ``inline`` bring the program or end the search; letters of short
    options may stand together.
    """

    valued: frozenset[str]
    inline: frozenset[str]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SHELL: Final = Options(_words("-o -O +o +O --rcfile --init-file"), _words("-c -s"))
_PYTHON: Final = Options(_words("-W -X --check-hash-based-pycs"), _words("-c -m"))
_PERL: Final = Options(_words("-I"), _words("-e -E"))
_RUBY: Final = Options(_words("-I -r -C -E"), _words("-e"))
_NODE: Final = Options(
    _words("-r --require --import --loader -C --conditions"), _words("-e -p --eval --print")
)
_PHP: Final = Options(_words("-c -d -z"), _words("-r -R -B -S -a"))
_LUA: Final = Options(_words("-l"), _words("-e -i"))

_FAMILIES: Final = (
    (re.compile(r"(?:ba|da|a|k|mk|z|fi|c|tc)?sh(?:-?[\d.]+)?"), _SHELL),
    (re.compile(r"(?:python|pypy)[\d.]*"), _PYTHON),
    (re.compile(r"perl[\d.]*"), _PERL),
    (re.compile(r"ruby[\d.]*"), _RUBY),
    (re.compile(r"node(?:js)?[\d.]*"), _NODE),
    (re.compile(r"php[\d.]*"), _PHP),
    (re.compile(r"lua(?:jit)?[\d.]*"), _LUA),
)
_WORDS_MAX: Final = 64


def script_of(program: str, arguments: Sequence[str]) -> str | None:
    """Return the script that a process runs as it was named; None if there is none.

    Args:
        program: the path of the executable.
        arguments: of the process, its own name first.
    """
    name = program.rpartition("/")[2]
    options = next((known for form, known in _FAMILIES if form.fullmatch(name)), None)
    if options is None:
        return None
    words = iter(arguments[1:_WORDS_MAX])
    for word in words:
        if word == "--":
            return next(words, None) or None
        if word == "-" or not word:
            return None
        if word[0] not in "-+":
            return word
        if _ends_search(word, options):
            return None
        if word in options.valued:
            next(words, None)
    return None


def _ends_search(word: str, options: Options) -> bool:
    if word in options.inline:
        return True
    if word.startswith("--"):
        return word.partition("=")[0] in options.inline
    # -xc is -x -c, unless the letters are the value of one that takes it: -Idir, -Wc.
    for letter in word[1:]:
        if f"-{letter}" in options.inline:
            return True
        if f"{word[0]}{letter}" in options.valued:
            return False
    return False
