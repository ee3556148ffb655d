"""A new TLS key and the request for its certificate, made in a process that ends at once.

Keys and certificates need a library of 9 MiB. `ship` wants it twice a day, and would carry it for
the rest of its life had it once loaded it.

The child gets no argument, no environment of ours and no input; it answers with one JSON object.
"""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agent.errors import Unreachable
from certs.channel import StoredKey
from certs.errors import KeyUnusable

CHILD_TIMEOUT_S: Final = 30
_MODULE: Final = "agent.ship.newkey"
_PACKAGE: Final = Path(__file__).resolve().parents[2]


class _Answer(Struct, frozen=True):
    key: Annotated[str, Meta(max_length=4096)]
    csr: Annotated[bytes, Meta(max_length=4096)]
    spki_sha256: Annotated[bytes, Meta(min_length=32, max_length=32)]


class NewKey(Struct, frozen=True):
    """A private key, the request (DER) for a certificate on it, and the hash of its public half."""

    key: StoredKey
    csr: bytes
    spki_sha256: bytes


async def make_key() -> NewKey:
    """Return a new key, made by a child.

    Raises:
        Unreachable: the child did not answer, or not with a key.
    """
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-s", "-m", _MODULE,
            stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, cwd="/",
            env={"PYTHONPATH": str(_PACKAGE), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    except OSError as error:
        raise Unreachable(f"no process to make a key: {error.strerror}") from error
    try:
        async with asyncio.timeout(CHILD_TIMEOUT_S):
            out, _ = await child.communicate()
        answer = msgspec.json.decode(out, type=_Answer)
        return NewKey(StoredKey(answer.key.encode()), answer.csr, answer.spki_sha256)
    except (TimeoutError, msgspec.MsgspecError, UnicodeDecodeError, KeyUnusable) as error:
        raise Unreachable("the process that makes keys made none") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def answer() -> bytes:
    """Return what the child prints: a new key with its request."""
    # The whole point is that only the child loads these.
    from certs.p256 import P256Key  # noqa: PLC0415
    from certs.request import create_request, spki_hash  # noqa: PLC0415

    key = P256Key.generate()
    csr = create_request(key)
    return msgspec.json.encode(_Answer(key.to_pem().decode(), csr, spki_hash(csr)))


if __name__ == "__main__":
    sys.stdout.buffer.write(answer())
