"""The names that content files travel by, from the collector's folder to a host and nowhere else.

``metadata/timestamp.json``, ``metadata/7.root.json``,
``targets/indicators/<sha256>.indicators.vdx``. Two to four parts of lower-case letters, digits,
dots, dashes and underscores; no part begins with a dot, so temporary files cannot be named.
"""

import re
from typing import Final

from proto.content.errors import BadName, shown

NAME_CHARS_MAX: Final = 200
METADATA: Final = "metadata"
TARGETS: Final = "targets"
# What a mirror answers instead of bytes where it has no such file; any other word is a failure.
MISSING: Final = "missing"

_NAME: Final = re.compile(r"(?:metadata|targets)(?:/[a-z0-9][a-z0-9._-]*){1,3}", re.ASCII)


def check_name(name: str) -> str:
    """Return the name if it is one.

    Args:
        name: a peer's text.

    Raises:
        BadName: anything that our publisher would not write.
    """
    if len(name) > NAME_CHARS_MAX or ".." in name or not _NAME.fullmatch(name):
        raise BadName(f"{shown(name)} is not the name of a content file")
    return name
