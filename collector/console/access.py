"""The API's token: made once, kept in a file for our user alone, compared in constant time."""

import base64
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Final

from collector.console.errors import NotAllowed
from runtime.files import write_atomic
from runtime.logs import Redacted

TOKEN_BYTES: Final = 32
TOKEN_CHARS_MAX: Final = 4096


def ensure_token(path: Path, random: Callable[[int], bytes]) -> Redacted:
    """Return the token in a file; a new one is made where there is none.

    Args:
        path: the file; its directory exists.
        random: n unpredictable bytes.

    Raises:
        NotAllowed: the file holds no token.
        OSError: it cannot be read or made.
    """
    if not path.exists():
        token = base64.urlsafe_b64encode(random(TOKEN_BYTES)).decode().rstrip("=")
        write_atomic(path, f"{token}\n".encode())
    with path.open("rb") as file:
        raw = file.read(TOKEN_CHARS_MAX).strip()
    token = raw.decode("ascii", "replace")
    if not raw.isascii() or not token.isprintable() or " " in token or len(raw) < TOKEN_BYTES:
        raise NotAllowed(f"{path} holds no token", hint="delete it: a new one is made at the start")
    return Redacted(token)


def check_token(header: str, token: Redacted | None) -> None:
    """Return if a request may use the API.

    Args:
        header: its Authorization header; empty where it has none.
        token: ours; None lets nobody in.

    Raises:
        NotAllowed: no token, another one, or another scheme.
    """
    scheme, _, shown = header.partition(" ")
    known = token.reveal() if token is not None else ""
    is_ours = hmac.compare_digest(shown.strip().encode(), known.encode())
    if not known or scheme.lower() != "bearer" or not is_ours:
        raise NotAllowed("the API needs its token", hint="send Authorization: Bearer TOKEN")
