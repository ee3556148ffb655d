"""Our Ed25519 keys as the keys of TUF metadata; loaded only where metadata is signed.

Source: TUF specification 1.0.33, section 4.2: a key's id is the SHA-256 of its canonical JSON.
"""

import hashlib

from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import (  # type: ignore[attr-defined]  # its __init__ has no __all__
    Key,
    SecretsHandler,
    Signature,
    Signer,
    SSlibKey,
)

from certs.signatures import SigningKey, VerifyKey

_KEY_TYPE = "ed25519"


def tuf_key(key: VerifyKey) -> SSlibKey:
    """Return a public key as TUF metadata carries it."""
    public = {"public": key.raw.hex()}
    form = encode_canonical({"keytype": _KEY_TYPE, "scheme": _KEY_TYPE, "keyval": public})
    return SSlibKey(hashlib.sha256(str(form).encode()).hexdigest(), _KEY_TYPE, _KEY_TYPE, public)


class TufSigner(Signer):
    """Signs metadata with a key of the keyring.

    Args:
        key: the private key.
    """

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self._public = tuf_key(key.public)

    @property
    def public_key(self) -> SSlibKey:
        """The public half, as metadata carries it."""
        return self._public

    def sign(self, payload: bytes) -> Signature:
        """Return the signature over a payload."""
        return Signature(self._public.keyid, self._key.sign(payload).hex())

    @classmethod
    def from_priv_key_uri(
        cls,
        priv_key_uri: str,  # noqa: ARG003  (the port's own arguments)
        public_key: Key,  # noqa: ARG003
        secrets_handler: SecretsHandler | None = None,  # noqa: ARG003
    ) -> "TufSigner":
        """Refuse: our keys are files of the keyring and have no address.

        Raises:
            UnsupportedLibraryError: always.
        """
        raise UnsupportedLibraryError("keys come from the keyring, not from an address")
