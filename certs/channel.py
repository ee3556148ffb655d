"""TLS for gRPC: version 1.3 only, a server that asks for certificates or does not, never both.

Server certificates are never reloaded through a credentials callback: under parallel handshakes
that crashes the process. A new certificate means a new listener beside the old one. The version is
``certs.tls_floor``'s business; the enforcement point asks again for each call.
"""

from typing import Protocol

import grpc
import msgspec

from certs.errors import AuthorityUnusable, KeyUnusable
from certs.tls_floor import require_tls_13

_PEM_BEGIN = b"-----BEGIN PRIVATE KEY-----\n"
_PEM_END = b"\n-----END PRIVATE KEY-----\n"


class PrivateKey(Protocol):
    """A key that can be handed to gRPC: `certs.p256.P256Key`, or one as it was stored."""

    def to_pem(self) -> bytes:
        """Return the key as PKCS #8 PEM."""
        ...


class StoredKey:
    """A private key passed on as it was stored; who only shows it needs no library to read it.

    Args:
        pem: one unencrypted PKCS #8 block; gRPC refuses what is inside when it is no key.

    Raises:
        KeyUnusable: not such a block.
    """

    __slots__ = ("_pem",)

    def __init__(self, pem: bytes) -> None:
        is_one = pem.count(_PEM_BEGIN) == 1 and pem.count(_PEM_END) == 1
        if not (is_one and pem.startswith(_PEM_BEGIN) and pem.endswith(_PEM_END)):
            raise KeyUnusable("not an unencrypted PEM private key")
        self._pem = pem

    def to_pem(self) -> bytes:
        """Return the key as PKCS #8 PEM."""
        return self._pem

    def __repr__(self) -> str:
        return "StoredKey()"


class TlsIdentity(msgspec.Struct, frozen=True):
    """A private key and the certificates that lead from it towards a root.

    Args:
        chain_pem: the leaf first, then its authority: a peer only has the root.
        key: the leaf's key.
    """

    chain_pem: bytes
    key: PrivateKey


def server_credentials(
    identity: TlsIdentity, client_root_pem: bytes | None = None
) -> grpc.ServerCredentials:
    """Return what a listener shows, and whom it lets in.

    Args:
        identity: the server's own.
        client_root_pem: every client must have a certificate under this root; without one, none
            is asked for (the enrolment listener).

    Raises:
        AuthorityUnusable: an empty root.
        TlsUnusable: gRPC was loaded too early.
    """
    _check_root(client_root_pem)
    require_tls_13()
    return grpc.ssl_server_credentials(
        [(identity.key.to_pem(), identity.chain_pem)],
        root_certificates=client_root_pem,
        require_client_auth=client_root_pem is not None,
    )


def channel_credentials(
    root_pem: bytes, identity: TlsIdentity | None = None
) -> grpc.ChannelCredentials:
    """Return whom a client trusts, and what it shows when asked.

    Args:
        root_pem: the only root; the system's own are never used.
        identity: the client's own; none before enrolment.

    Raises:
        AuthorityUnusable: an empty root.
        TlsUnusable: gRPC was loaded too early.
    """
    _check_root(root_pem)
    require_tls_13()
    if identity is None:
        return grpc.ssl_channel_credentials(root_certificates=root_pem)
    return grpc.ssl_channel_credentials(
        root_certificates=root_pem,
        private_key=identity.key.to_pem(),
        certificate_chain=identity.chain_pem,
    )


def _check_root(root_pem: bytes | None) -> None:
    # To some TLS libraries an empty root means the system's own.
    if root_pem is not None and not root_pem.strip():
        raise AuthorityUnusable("there is no root certificate to verify the peer with")
