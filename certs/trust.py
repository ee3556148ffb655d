"""``trust.json``: whom a host trusts, pinned by its join token and kept for life.

One file for each tenant: the trust domain, the X.509 root above every certificate, the TUF root
above all content, and the keys that sign receipts and the tenant's log. A file has one spelling
(indented JSON in the order of the fields), so its SHA-256 names it. A change counts ``version`` up,
names its predecessor in ``previous`` and is signed offline.

It names the X.509 root without reading it: no certificate library is loaded for it on a host.
"""

import base64
import binascii
import hashlib
from typing import Annotated, Literal

import msgspec

from certs.errors import IdentityRefused, KeyUnusable, TrustRefused
from certs.identity import TenantId, parse_domain
from certs.signatures import VerifyKey
from certs.tokens import ROOT_DER_BYTES_MAX, JoinToken

TRUST_BYTES_MAX = 256 * 1024
TUF_ROOT_BYTES_MAX = 128 * 1024
KEYS_MAX = 16

_PEM_BEGIN = "-----BEGIN CERTIFICATE-----\n"
_PEM_END = "-----END CERTIFICATE-----\n"


class TrustedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An Ed25519 key that may sign one kind of thing.

    Args:
        name: the key's name, as checkpoints carry it.
        key: the raw public key.
        not_before_ns: what it signed before this instant (ns UTC) does not count.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[a-z0-9./-]+\Z")]
    key: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    not_before_ns: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0

    @property
    def verify_key(self) -> VerifyKey:
        """The key, ready to verify.

        Raises:
            KeyUnusable: a key that no honest owner has; ``Trust.parse`` lets none in.
        """
        return VerifyKey(self.key)


_Keys = Annotated[tuple[TrustedKey, ...], msgspec.Meta(min_length=1, max_length=KEYS_MAX)]


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom the hosts of one tenant trust.

    Args:
        format: the form of this file.
        version: counts the changes, from 1.
        previous: SHA-256 of the version before, in hex; absent in the first.
        domain: the trust domain.
        tenant: whose hosts.
        x509_root: the root certificate, one PEM block.
        tuf_root: the first root metadata of the tenant's content, as signed.
        receipt_keys: who may sign receipts.
        log_keys: who may sign the tenant's checkpoints.
    """

    format: Literal[1] = 1
    version: Annotated[int, msgspec.Meta(ge=1, lt=2**31)] = 1
    previous: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    domain: Annotated[str, msgspec.Meta(max_length=256)]
    tenant: Annotated[str, msgspec.Meta(max_length=36)]
    x509_root: Annotated[str, msgspec.Meta(max_length=2 * ROOT_DER_BYTES_MAX)]
    tuf_root: Annotated[bytes, msgspec.Meta(max_length=TUF_ROOT_BYTES_MAX)]
    receipt_keys: _Keys
    log_keys: _Keys

    @classmethod
    def parse(cls, data: bytes) -> "Trust":
        """Return the trust in a file.

        Args:
            data: untrusted bytes.

        Raises:
            TrustRefused: too large, malformed, in another spelling, or with an impossible value.
        """
        if len(data) > TRUST_BYTES_MAX:
            raise TrustRefused(f"a trust file has at most {TRUST_BYTES_MAX} bytes")
        try:
            trust = msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise TrustRefused("not a trust file") from error
        _check_values(trust)
        if trust.encode() != data:
            raise TrustRefused(
                "the trust file was rewritten", hint="fetch it again; do not reformat it"
            )
        return trust

    def encode(self) -> bytes:
        """Return the one spelling of this trust."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def digest(self) -> bytes:
        """Return SHA-256 of the file, as join tokens pin it."""
        return hashlib.sha256(self.encode()).digest()

    @property
    def tenant_id(self) -> TenantId:
        """Whose hosts.

        Raises:
            IdentityRefused: not an id; ``parse`` lets none in.
        """
        return TenantId.parse(self.tenant)

    @property
    def root_pem(self) -> bytes:
        """The X.509 root, as TLS libraries want it."""
        return self.x509_root.encode()

    @property
    def root_der(self) -> bytes:
        """The X.509 root, as join tokens carry it.

        Raises:
            TrustRefused: not one PEM block; ``parse`` lets none in.
        """
        text = self.x509_root
        if not (text.startswith(_PEM_BEGIN) and text.endswith(_PEM_END)):
            raise TrustRefused("the trust file holds no X.509 root")
        body = text[len(_PEM_BEGIN) : -len(_PEM_END)].replace("\n", "")
        try:
            der = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise TrustRefused("the X.509 root in the trust file is damaged") from error
        if not 0 < len(der) <= ROOT_DER_BYTES_MAX:
            raise TrustRefused("the X.509 root in the trust file has an impossible size")
        return der

    def check_token(self, token: JoinToken) -> None:
        """Return if this is the trust that a join token pins.

        Raises:
            TrustRefused: another file, another root or another tenant.
        """
        if self.digest() != token.trust_sha256:
            raise TrustRefused(
                "the trust file is not the one the join token names",
                hint="the collector's trust changed after the token was made, or this is not the "
                "collector: mint another token; if it happens again, somebody is in between",
            )
        if self.root_der != token.root_der or self.tenant_id != token.tenant:
            raise TrustRefused("the join token and its trust file disagree")


def _check_values(trust: Trust) -> None:
    try:
        parse_domain(trust.domain)
        TenantId.parse(trust.tenant)
        for trusted in (*trust.receipt_keys, *trust.log_keys):
            VerifyKey(trusted.key)
    except (IdentityRefused, KeyUnusable) as error:
        raise TrustRefused(f"the trust file holds an impossible value: {error.message}") from error
    if (trust.version == 1) != (trust.previous is None):
        raise TrustRefused("every trust file but the first names the one before")
    _ = trust.root_der
