import base64
import hashlib

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import TokenRefused
from certs.identity import TenantId
from certs.tokens import PREFIX, TOKEN_CHARS_MAX, JoinToken, token_hash
from tests.certs.builders import NOW_NS, TENANT, a_pki

SECRET = bytes(range(100, 132))


def a_token(secret: bytes = SECRET, root_der: bytes = b"root") -> JoinToken:
    return JoinToken(
        tenant=TENANT, secret=secret, root_der=root_der, trust_sha256=bytes(32), expires_ns=NOW_NS
    )


def wrapped(payload: bytes) -> str:
    check = hashlib.sha256(payload).digest()[:4]
    return PREFIX + base64.urlsafe_b64encode(payload + check).decode().rstrip("=")


TEXT = a_token().encode()


@given(
    st.builds(
        JoinToken,
        tenant=st.builds(TenantId, st.binary(min_size=16, max_size=16)),
        secret=st.binary(min_size=32, max_size=32),
        root_der=st.binary(min_size=1, max_size=2048),
        trust_sha256=st.binary(min_size=32, max_size=32),
        expires_ns=st.integers(0, 2**63 - 1),
    )
)
def test_every_token_survives_being_printed(token: JoinToken) -> None:
    text = token.encode()

    assert JoinToken.parse(text) == token
    assert text.isascii()
    assert len(text.split()) == 1
    assert len(text) <= TOKEN_CHARS_MAX


def test_white_space_around_a_pasted_token_is_forgiven() -> None:
    assert JoinToken.parse(f"  {TEXT}\r\n") == a_token()


@given(st.integers(0, len(TEXT) - 1), st.characters())
def test_a_token_with_one_wrong_character_is_refused(position: int, character: str) -> None:
    changed = TEXT[:position] + character + TEXT[position + 1 :]

    try:
        token = JoinToken.parse(changed)
    except TokenRefused:
        return

    assert token == a_token()


@given(st.integers(0, len(TEXT) - 1))
def test_a_token_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(TokenRefused):
        JoinToken.parse(TEXT[:cut])


@given(st.text(max_size=200), st.booleans())
def test_any_text_is_refused(text: str, prefixed: bool) -> None:
    with pytest.raises(TokenRefused):
        JoinToken.parse(PREFIX + text if prefixed else text)


@given(st.binary(max_size=200))
def test_any_bytes_with_a_right_checksum_are_a_token_or_refused(payload: bytes) -> None:
    with pytest.raises(TokenRefused):
        JoinToken.parse(wrapped(payload))


T16, B32 = bytes(16), bytes(32)


@pytest.mark.parametrize(
    "fields",
    [
        [bytes(15), B32, b"r", B32, 1],
        [T16, bytes(31), b"r", B32, 1],
        [T16, bytes(33), b"r", B32, 1],
        [T16, B32, b"", B32, 1],
        [T16, B32, bytes(2049), B32, 1],
        [T16, B32, b"r", bytes(31), 1],
        [T16, B32, b"r", B32, -1],
        [T16, B32, b"r", B32, 2**63],
        [T16, B32, b"r", B32],
        [T16, B32, b"r", B32, 1, 1],
        [T16, B32, b"r", B32, "1"],
        {"tenant": T16},
    ],
    ids=range(12),
)
def test_a_token_with_an_impossible_field_is_refused(fields: object) -> None:
    with pytest.raises(TokenRefused):
        JoinToken.parse(wrapped(msgspec.msgpack.encode(fields)))


def test_a_token_of_a_later_form_is_refused() -> None:
    with pytest.raises(TokenRefused):
        JoinToken.parse(TEXT.replace("join-1", "join-2"))


def test_an_endless_token_is_refused() -> None:
    with pytest.raises(TokenRefused):
        JoinToken.parse(PREFIX + "A" * TOKEN_CHARS_MAX)


def test_a_token_never_prints_its_secret() -> None:
    token = a_token(secret=b"\x5a" * 32)

    shown = f"{token} {token!r} {token.__rich_repr__()} {[token]}"

    assert "ZZZ" not in shown
    assert "5a5a" not in shown
    assert "***" in shown


def test_a_refusal_never_repeats_the_token() -> None:
    with pytest.raises(TokenRefused) as caught:
        JoinToken.parse(TEXT[:-1])

    assert TEXT[40:60] not in str(caught.value)


def test_the_collector_keeps_a_hash_that_is_no_plain_hash_of_the_secret() -> None:
    assert token_hash(SECRET) == hashlib.sha256(b"vedette.join-token.v1\0" + SECRET).digest()
    assert token_hash(SECRET) != hashlib.sha256(SECRET).digest()


def test_the_pinned_root_comes_back_as_the_same_certificate() -> None:
    root = x509.load_pem_x509_certificate(a_pki().root.certificate_pem)
    der = root.public_bytes(Encoding.DER)

    token = JoinToken.parse(a_token(root_der=der).encode())

    assert x509.load_pem_x509_certificate(token.root_pem) == root
