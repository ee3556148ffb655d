"""The token is made once, is ours alone, and lets in nobody who does not have it."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.console.access import check_token, ensure_token
from collector.console.errors import NotAllowed
from runtime.logs import Redacted


def test_a_token_is_made_once_and_only_for_our_user(tmp_path: Path) -> None:
    path = tmp_path / "token"

    first = ensure_token(path, os.urandom)
    second = ensure_token(path, os.urandom)

    assert first.reveal() == second.reveal()
    assert len(first.reveal()) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.reveal() not in repr(first)


@pytest.mark.parametrize("content", [b"", b"short", b"two words " * 9, b"\xff" * 64, b"x\ny" * 30])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)

    with pytest.raises(NotAllowed, match="holds no token"):
        ensure_token(path, os.urandom)


def test_whoever_shows_the_token_may_ask() -> None:
    token = Redacted("s" * 43)

    for header in (f"Bearer {'s' * 43}", f"bearer  {'s' * 43} "):
        check_token(header, token)


@given(st.text(max_size=60))
def test_any_other_header_is_refused(header: str) -> None:
    for token in (Redacted("s" * 43), None):
        with pytest.raises(NotAllowed):
            check_token(header, token)
