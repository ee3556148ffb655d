"""The laws of TUF keys."""

import pytest
from securesystemslib.exceptions import UnsupportedLibraryError, UnverifiedSignatureError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

from certs.signatures import SigningKey
from certs.tufkeys import TufSigner, tuf_key

KEY = SigningKey.from_private_bytes(bytes(range(32)))


def test_a_signature_verifies_under_the_key_as_metadata_carries_it() -> None:
    signer = TufSigner(KEY)

    signature = signer.sign(b"payload")

    signer.public_key.verify_signature(signature, b"payload")
    with pytest.raises(UnverifiedSignatureError):
        signer.public_key.verify_signature(signature, b"another payload")


def test_a_key_has_the_form_and_the_id_that_tuf_prescribes() -> None:
    key = tuf_key(KEY.public)

    form = key.to_dict()

    assert form == {
        "keytype": "ed25519",
        "scheme": "ed25519",
        "keyval": {"public": KEY.public.raw.hex()},
    }
    assert key.keyid == "63d00ee3cf4f5c61ad94efa696c68f13b608fe56ecea13fb144a6fd18e9235b9"
    assert SSlibKey.from_dict(key.keyid, dict(form)) == key


def test_a_private_key_is_never_fetched_from_an_address() -> None:
    with pytest.raises(UnsupportedLibraryError):
        TufSigner.from_priv_key_uri("file:/etc/key", tuf_key(KEY.public))
