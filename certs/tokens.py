"""Join tokens: the one string an operator carries from the collector to a new host.

A token is a bearer secret of 256 bits for one tenant, good once and for minutes. It also pins whom
the host will trust: the root certificate, so that the very first connection is verified, and the
SHA-256 of the trust file that arrives over it. The collector keeps only the secret's hash.

It is written ``vedette-join-1.`` and base64url of a MessagePack array followed by four bytes of its
SHA-256, so that a token cut short by a terminal is told from one the collector does not know.
"""

import base64
import binascii
import hashlib
import hmac
import re
from typing import Annotated

import msgspec

from certs.errors import TokenRefused
from certs.identity import TenantId

PREFIX = "vedette-join-1."
SECRET_BYTES = 32
ROOT_DER_BYTES_MAX = 2048
TOKEN_CHARS_MAX = 4096

_HASH_CONTEXT = b"vedette.join-token.v1\0"
_CHECK_BYTES = 4
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class _Wire(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    tenant: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    secret: Annotated[bytes, msgspec.Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
    root_der: Annotated[bytes, msgspec.Meta(min_length=1, max_length=ROOT_DER_BYTES_MAX)]
    trust_sha256: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    expires_ns: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class JoinToken(msgspec.Struct, frozen=True):
    """What a token carries. It prints without its secret.

    Args:
        tenant: whom the host will belong to.
        secret: 32 random bytes.
        root_der: the X.509 root that the collector's server certificate leads to.
        trust_sha256: the digest of the trust file that the collector will hand out.
        expires_ns: when the collector stops taking it, by the collector's clock (ns UTC).
    """

    tenant: TenantId
    secret: bytes
    root_der: bytes
    trust_sha256: bytes
    expires_ns: int

    def encode(self) -> str:
        """Return the token as one printable string: it holds the secret."""
        payload = msgspec.msgpack.encode(
            _Wire(
                tenant=self.tenant.bytes,
                secret=self.secret,
                root_der=self.root_der,
                trust_sha256=self.trust_sha256,
                expires_ns=self.expires_ns,
            )
        )
        return PREFIX + base64.urlsafe_b64encode(payload + _check(payload)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "JoinToken":
        """Return the token in ``text``; white space around it is forgiven.

        Args:
            text: untrusted, as an operator pasted it.

        Raises:
            TokenRefused: not a token, or not a whole one.
        """
        wire = _decode(_payload(text.strip()))
        return cls(
            TenantId(wire.tenant), wire.secret, wire.root_der, wire.trust_sha256, wire.expires_ns
        )

    @property
    def root_pem(self) -> bytes:
        """The pinned root as PEM, as TLS libraries want it."""
        lines = base64.b64encode(self.root_der)
        wrapped = b"\n".join(lines[start : start + 64] for start in range(0, len(lines), 64))
        return b"-----BEGIN CERTIFICATE-----\n" + wrapped + b"\n-----END CERTIFICATE-----\n"

    def __repr__(self) -> str:
        return f"JoinToken(tenant={self.tenant}, secret=***, expires_ns={self.expires_ns})"

    def __str__(self) -> str:
        return repr(self)

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """What pretty printers show: not the secret either."""
        return [("tenant", str(self.tenant)), ("secret", "***"), ("expires_ns", self.expires_ns)]


def token_hash(secret: bytes) -> bytes:
    """Return what a collector keeps of a token's secret."""
    return hashlib.sha256(_HASH_CONTEXT + secret).digest()


def _check(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()[:_CHECK_BYTES]


def _payload(text: str) -> bytes:
    if len(text) > TOKEN_CHARS_MAX or not text.startswith(PREFIX):
        raise TokenRefused("not a join token", hint=f"a token starts with {PREFIX}")
    encoded = text.removeprefix(PREFIX)
    if _BASE64URL.fullmatch(encoded) is None:
        raise _damaged()
    try:
        raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except binascii.Error as error:
        raise _damaged() from error
    payload, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    if not hmac.compare_digest(_check(payload), check):
        raise _damaged()
    return payload


def _decode(payload: bytes) -> _Wire:
    try:
        return msgspec.msgpack.decode(payload, type=_Wire)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged() from error


def _damaged() -> TokenRefused:
    return TokenRefused(
        "the join token is damaged",
        hint="copy it whole, as one line; or mint another: vedette-collector token",
    )
