"""Domain names in one spelling: lower case, A-labels, no trailing dot, no defanging.

Names that are not ASCII are mapped by a part of UTS 46 (compatibility forms, lower case, what is
ignored goes) and written in Punycode. What a browser would map otherwise is rare and at worst does
not match.

Source: RFC 1035 section 2.3.4, RFC 3492, UTS 46 (non-transitional).
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from proto.content.errors import BadValue, shown

DOMAIN_CHARS_MAX: Final = 253
LABEL_CHARS_MAX: Final = 63
# So many parents are asked for, the widest first; deeper ones match nothing but themselves.
PARENT_LABELS_MAX: Final = 10
_TEXT_CHARS_MAX: Final = 1024
_ASCII: Final = re.compile(
    r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{0,62}[a-z_-][a-z0-9_-]{0,62}", re.ASCII
)
# What is spelt so already, as nearly all that hosts and feeds hold.
_PLAIN: Final = re.compile(r"(?:[a-z0-9_-]{1,63}\.)+[a-z]{1,63}", re.ASCII)
_DEFANGED: Final = ("[.]", "(.)", "{.}", "[dot]", "(dot)")
# Soft hyphen, zero-width space, word joiner, byte order mark, variation selectors.
_IGNORED: Final = dict.fromkeys((0xAD, 0x200B, 0x2060, 0xFEFF, *range(0xFE00, 0xFE10)))
_DOTS: Final = str.maketrans("\u3002\uff61", "..")


def domain(text: str) -> str:
    """Return a domain that stands for itself and all below it; ``*.`` in front is left off.

    Raises:
        BadValue: not a name of two labels or more.
    """
    if len(text) <= DOMAIN_CHARS_MAX and _PLAIN.fullmatch(text):
        return text
    return hostname(text.strip().removeprefix("*"))


def is_plain(text: str) -> bool:
    """Return whether a text surely is a name of two labels or more in its one spelling."""
    return len(text) <= DOMAIN_CHARS_MAX and _PLAIN.fullmatch(text) is not None


def hostname(text: str) -> str:
    """Return a host's name of two labels or more; a port after it is left off.

    Raises:
        BadValue: not one.
    """
    if is_plain(text):
        return text
    name = text.strip()
    head, colon, port = name.rpartition(":")
    if colon and port.isdecimal() and port.isascii():
        name = head
    found = host_label(refanged(name).removeprefix("."))
    if "." not in found:
        raise BadValue(f"{shown(text)} has one label: that is no indicator")
    return found


def host_label(text: str) -> str:
    """Return a name of any number of labels in its one spelling.

    Raises:
        BadValue: no name, or one too long; an address is none.
    """
    name = text if text.isascii() else _mapped(text)
    name = name.lower().removesuffix(".")
    if len(name) > DOMAIN_CHARS_MAX or not _ASCII.fullmatch(name) or _has_long_label(name):
        raise BadValue(f"{shown(text)} is not a domain name")
    return name


def refanged(text: str) -> str:
    """Return a name without the brackets that keep people from following it."""
    if "[" in text or "(" in text or "{" in text:
        for mark in _DEFANGED:
            text = text.replace(mark, ".").replace(mark.upper(), ".")
    return text


def parents(name: str) -> Iterator[str]:
    """Yield the name and every domain above it of two labels or more, the widest first.

    Args:
        name: in its one spelling.
    """
    at = name.rfind(".")
    for _ in range(PARENT_LABELS_MAX):
        at = name.rfind(".", 0, at) if at > 0 else -1
        yield name[at + 1 :]
        if at < 0:
            return
    yield name


def _has_long_label(name: str) -> bool:
    return len(name) > LABEL_CHARS_MAX and max(map(len, name.split("."))) > LABEL_CHARS_MAX


def _mapped(text: str) -> str:
    if len(text) > _TEXT_CHARS_MAX:
        raise BadValue("a domain name of too many characters")
    folded = unicodedata.normalize("NFKC", text.translate(_IGNORED)).lower()
    plain = unicodedata.normalize("NFKC", folded).translate(_IGNORED).translate(_DOTS)
    return ".".join(map(_a_label, plain.split(".")))


def _a_label(label: str) -> str:
    if label.isascii():
        return label
    # Punycode takes time in the square of its input.
    if len(label) > LABEL_CHARS_MAX or not all(map(_is_of_a_name, label)):
        raise BadValue(f"{shown(label)} is not a label of a domain name")
    return "xn--" + label.encode("punycode").decode("ascii")


def _is_of_a_name(char: str) -> bool:
    return (
        char in "-_"
        or unicodedata.category(char)[0] in "LMNS"
        or char in "\u200c\u200d\u00b7\u30fb"
    )
