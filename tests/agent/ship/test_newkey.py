import sys
from pathlib import Path

import msgspec
import pytest

from agent.errors import Unreachable
from agent.ship import newkey
from certs.p256 import P256Key
from certs.request import parse_request


async def test_a_child_makes_a_key_with_a_request_for_it() -> None:
    made = await newkey.make_key()

    request = parse_request(made.csr)
    key = P256Key.from_pem(made.key.to_pem())
    assert request.public == key.public
    assert request.spki_sha256 == made.spki_sha256


async def test_no_two_keys_are_the_same() -> None:
    first, second = newkey.answer(), newkey.answer()

    assert msgspec.json.decode(first)["key"] != msgspec.json.decode(second)["key"]


async def test_the_key_is_never_printed() -> None:
    made = await newkey.make_key()

    assert "PRIVATE" not in repr(made)


@pytest.mark.parametrize("program", ["/nonexistent", "/bin/false"])
async def test_a_child_that_makes_no_key_is_our_own_error(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", program)

    with pytest.raises(Unreachable):
        await newkey.make_key()


async def test_a_child_that_says_something_else_is_our_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = tmp_path / "liar"
    liar.write_text(f'#!{sys.executable}\nprint(\'{{"key": "x", "csr": "", "spki_sha256": ""}}\')')
    liar.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(liar))

    with pytest.raises(Unreachable, match="made none"):
        await newkey.make_key()


async def test_a_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 30\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(sleeper))
    monkeypatch.setattr(newkey, "CHILD_TIMEOUT_S", 0.1)

    with pytest.raises(Unreachable, match="made none"):
        await newkey.make_key()
