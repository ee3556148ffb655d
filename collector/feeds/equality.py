"""STIX patterns that say no more than that a value is one of these, as indicators.

``[file:hashes.'SHA-256' = 'aa…' OR file:name = 'x'] OR [ipv4-addr:value IN ('192.0.2.1')]`` lists
three. Whatever joins (AND, FOLLOWEDBY), negates, compares otherwise or is qualified by time says
more, and is refused by what it says.

Source: STIX 2.1, section 9 (stix patterning).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proto.content.errors import BadValue, shown
from proto.content.kinds import IndicatorKind
from proto.content.normalise import address_kind

PATTERN_CHARS_MAX: Final = 64 * 1024
VALUES_MAX: Final = 4096
_TOKEN: Final = re.compile(
    r"\s*+(?:(?P<text>'(?:[^'\\]|\\.)*')"
    r"|(?P<path>[a-z0-9-]++:[A-Za-z0-9_-]++(?:\.(?:[A-Za-z0-9_-]++|'[^'\\]*+'|\"[^\"\\]*+\"))*)"
    r"|(?P<word>[A-Za-z]++)|(?P<mark>[^\sA-Za-z']))",
    re.ASCII | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_PATHS: Final[Mapping[str, IndicatorKind]] = MappingProxyType(
    {
        "file:hashes.sha-256": IndicatorKind.SHA256,
        "file:hashes.sha256": IndicatorKind.SHA256,
        "file:hashes.sha-1": IndicatorKind.SHA1,
        "file:hashes.sha1": IndicatorKind.SHA1,
        "file:hashes.md5": IndicatorKind.MD5,
        "file:name": IndicatorKind.FILE_NAME,
        "process:name": IndicatorKind.PROCESS_NAME,
        "ipv4-addr:value": IndicatorKind.IPV4,
        "ipv6-addr:value": IndicatorKind.IPV6,
        "network-traffic:dst_ref.value": IndicatorKind.IPV4,
        "domain-name:value": IndicatorKind.DOMAIN,
        "url:value": IndicatorKind.URL,
        "email-addr:value": IndicatorKind.EMAIL,
        "email-message:from_ref.value": IndicatorKind.EMAIL,
        "mutex:name": IndicatorKind.MUTEX,
    }
)
_ADDRESSES: Final = frozenset({IndicatorKind.IPV4, IndicatorKind.IPV6})
_QUOTES: Final = str.maketrans("", "", "'\"")

Value = tuple[IndicatorKind, str]


def lowered(pattern: str) -> list[Value]:
    """Return the values of which a pattern asks for one.

    Args:
        pattern: untrusted.

    Raises:
        BadValue: it says more than that, or is no pattern.
    """
    if len(pattern) > PATTERN_CHARS_MAX:
        raise BadValue(f"a pattern of more than {PATTERN_CHARS_MAX} characters")
    tokens = _Tokens(pattern)
    found: list[Value] = []
    while True:
        tokens.take("[")
        while True:
            found += _comparison(tokens)
            if len(found) > VALUES_MAX:
                raise BadValue(f"a pattern of more than {VALUES_MAX} values")
            if not tokens.takes_or():
                break
        tokens.take("]")
        if not tokens.takes_or():
            break
    tokens.end()
    return found


def _comparison(tokens: "_Tokens") -> list[Value]:
    path = tokens.path()
    kind = _PATHS.get(path.translate(_QUOTES).lower())
    if kind is None:
        raise BadValue(f"{shown(path)} is no field of a kind of ours")
    word = tokens.next()
    if word == "=":
        return [_value(kind, tokens.text())]
    if word.upper() != "IN":
        raise BadValue(f"compares with {shown(word)}")
    tokens.take("(")
    found = [_value(kind, tokens.text())]
    while (mark := tokens.next()) == ",":
        found.append(_value(kind, tokens.text()))
    if mark != ")":
        raise BadValue(f"{shown(mark)} where a list ends")
    return found


def _value(kind: IndicatorKind, text: str) -> Value:
    return (address_kind(text) if kind in _ADDRESSES else kind), text


class _Tokens:
    """The words of a pattern, one after another."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern.rstrip()
        self._at = 0

    def next(self) -> str:
        if self._at >= len(self._pattern):
            raise BadValue("a pattern that is cut short")
        found = _TOKEN.match(self._pattern, self._at)
        if found is None:
            raise BadValue("a text without an end in a pattern")
        self._at = found.end()
        return found[found.lastgroup or 0]

    def take(self, mark: str) -> None:
        word = self.next()
        if word != mark:
            raise BadValue(f"{shown(word)} where {mark} is needed")

    def takes_or(self) -> bool:
        before = self._at
        if before < len(self._pattern) and self.next().upper() == "OR":
            return True
        self._at = before
        return False

    def path(self) -> str:
        word = self.next()
        if ":" not in word or word.startswith("'"):
            raise BadValue(f"{shown(word)} where a field is needed")
        return word

    def text(self) -> str:
        word = self.next()
        if not word.startswith("'"):
            raise BadValue(f"{shown(word)} where a text is needed")
        return _ESCAPE.sub(r"\1", word[1:-1])

    def end(self) -> None:
        if self._at < len(self._pattern):
            raise BadValue(f"{shown(self.next())} behind its observations")
