"""URLs in what a program was given, found by a bounded look for ``://``. Pure.

No pattern is run over text that somebody else wrote: the scheme is read backwards from the mark and
the rest forwards to the first character that ends a URL in a shell, a script or a document.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from proto.content.urls import SCHEME_CHARS_MAX, URL_CHARS_MAX

ARGUMENTS_MAX: Final = 64
ARGUMENT_CHARS_MAX: Final = 16 * 1024
URLS_MAX: Final = 8
_MARK: Final = "://"
_SCHEME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-")
_ENDS: Final = frozenset(" \t\r\n\v\f\0\"'`<>|;(){}\\^")
_TRAILING: Final = ".,:!"


def urls_in(arguments: Sequence[str]) -> list[str]:
    """Return the URLs in the arguments of a program, each once, at most `URLS_MAX`."""
    found: dict[str, None] = {}
    for argument in arguments[:ARGUMENTS_MAX]:
        if _MARK not in argument:
            continue
        for url in _urls(argument[:ARGUMENT_CHARS_MAX]):
            found[url] = None
            if len(found) == URLS_MAX:
                return list(found)
    return list(found)


def _urls(text: str) -> Iterator[str]:
    at = text.find(_MARK)
    while at >= 0:
        begin = at
        while begin and at - begin < SCHEME_CHARS_MAX and text[begin - 1] in _SCHEME:
            begin -= 1
        limit = min(len(text), begin + URL_CHARS_MAX)
        end = at + len(_MARK)
        while end < limit and text[end] not in _ENDS:
            end += 1
        if at > begin and end > at + len(_MARK):
            yield text[begin:end].rstrip(_TRAILING)
        at = text.find(_MARK, max(end, at + 1))
