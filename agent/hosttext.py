r"""Host text as text: any bytes become a bounded string that can be stored, sent and shown.

What is not UTF-8 appears as ``\xNN``; what is too long ends in `CUT`. Nothing else is changed: a
newline in a process name is a fact.
"""

import os
from typing import Final

CUT: Final = "…[cut]"


def host_text(raw: bytes | str, chars_max: int) -> str:
    """Return ``raw`` as text of at most ``chars_max`` characters.

    Args:
        raw: untrusted; a `str` is a file name as `os` returns it.
        chars_max: at least the length of `CUT`.
    """
    data = os.fsencode(raw) if isinstance(raw, str) else raw
    # No encoding of a character is longer than four bytes: more than this is never needed.
    text = data[: chars_max * 4 + 4].decode("utf-8", "backslashreplace")
    if len(text) <= chars_max:
        return text
    return text[: chars_max - len(CUT)] + CUT
