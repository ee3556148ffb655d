import base64
import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.anchors import root_der
from certs.errors import TrustRefused
from certs.signatures import SigningKey
from certs.tokens import JoinToken
from certs.trust import TRUST_BYTES_MAX, Trust, TrustedKey
from tests.certs.builders import DOMAIN, NOW_NS, OTHER_TENANT, TENANT, a_pki

KEY = SigningKey.from_private_bytes(bytes(range(32))).public
ROOT_PEM = a_pki().root.certificate_pem


def a_trusted_key(name: str = "receipts") -> TrustedKey:
    return TrustedKey(name=name, key=KEY.raw, not_before_ns=NOW_NS)


def a_trust() -> Trust:
    return Trust(
        domain=DOMAIN,
        tenant=str(TENANT),
        x509_root=ROOT_PEM.decode(),
        tuf_root=b'{"signed": {}}',
        receipt_keys=(a_trusted_key(),),
        log_keys=(a_trusted_key(f"{DOMAIN}/log/{TENANT}"),),
    )


def a_token_for(trust: Trust) -> JoinToken:
    return JoinToken(
        tenant=trust.tenant_id,
        secret=bytes(32),
        root_der=trust.root_der,
        trust_sha256=trust.digest(),
        expires_ns=NOW_NS,
    )


def changed(**fields: object) -> bytes:
    """The trust file with some fields replaced, in our own spelling."""
    found = msgspec.json.decode(a_trust().encode())
    found.update(fields)
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"


def test_a_trust_file_survives_its_one_spelling() -> None:
    trust = a_trust()

    read = Trust.parse(trust.encode())

    assert read == trust
    assert read.digest() == hashlib.sha256(trust.encode()).digest()
    assert read.tenant_id == TENANT
    assert read.receipt_keys[0].verify_key == KEY
    assert read.root_pem == ROOT_PEM
    assert read.root_der == root_der(ROOT_PEM)


def test_a_trust_file_is_text_that_a_person_can_read() -> None:
    lines = a_trust().encode().decode().splitlines()

    assert '  "domain": "vedette.example",' in lines


def test_a_reformatted_trust_file_is_refused() -> None:
    data = a_trust().encode()

    for other in (msgspec.json.encode(a_trust()), data + b"\n", data[:-1], b" " + data):
        with pytest.raises(TrustRefused):
            Trust.parse(other)


def test_a_later_version_names_the_one_before() -> None:
    first = a_trust()

    second = msgspec.structs.replace(first, version=2, previous=first.digest().hex())

    assert Trust.parse(second.encode()) == second
    assert second.digest() != first.digest()


SMALL_ORDER = base64.b64encode(bytes([1]) + bytes(31)).decode()
NOT_REDUCED = base64.b64encode(b"\xff" * 32).decode()


def a_key(**fields: object) -> dict[str, object]:
    return {"name": "a", "key": base64.b64encode(KEY.raw).decode(), "not_before_ns": 0} | fields


@pytest.mark.parametrize(
    "fields",
    [
        {"format": 2},
        {"format": "1"},
        {"version": 0},
        {"version": 2},
        {"version": 1, "previous": "0" * 64},
        {"version": 2, "previous": "0" * 63},
        {"version": 2, "previous": "A" * 64},
        {"version": 2, "previous": "0" * 64 + "\n"},
        {"domain": "Upper.example"},
        {"domain": ""},
        {"domain": "a" * 300},
        {"tenant": str(TENANT).replace("1", "A")},
        {"tenant": ""},
        {"tenant": "x" * 36},
        {"x509_root": ""},
        {"x509_root": "no certificate"},
        {"x509_root": "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n"},
        {"x509_root": "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n"},
        {"x509_root": "-----BEGIN CERTIFICATE-----\n\u00e9\n-----END CERTIFICATE-----\n"},
        {"x509_root": ROOT_PEM.decode() * 2},
        {"tuf_root": "*"},
        {"tuf_root": base64.b64encode(bytes(128 * 1024 + 1)).decode()},
        {"receipt_keys": []},
        {"log_keys": []},
        {"receipt_keys": [a_key()] * 17},
        {"receipt_keys": [a_key(key=SMALL_ORDER)]},
        {"log_keys": [a_key(key=NOT_REDUCED)]},
        {"receipt_keys": [a_key(key="AAAA")]},
        {"receipt_keys": [a_key(name="")]},
        {"receipt_keys": [a_key(name="two words")]},
        {"receipt_keys": [a_key(name="line\n")]},
        {"receipt_keys": [a_key(not_before_ns=-1)]},
        {"receipt_keys": [a_key(more=1)]},
        {"receipt_keys": None},
        {"more": 1},
    ],
    ids=range(35),
)
def test_a_trust_file_with_an_impossible_value_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(TrustRefused):
        Trust.parse(changed(**fields))


def test_the_builder_of_impossible_files_makes_a_good_one_when_nothing_is_changed() -> None:
    assert Trust.parse(changed()) == a_trust()


@given(st.binary(max_size=200), st.sampled_from([b"", b"{", b'{"format": 1, "x509_root": "']))
def test_any_bytes_are_refused(data: bytes, start: bytes) -> None:
    with pytest.raises(TrustRefused):
        Trust.parse(start + data)


@pytest.mark.parametrize("data", [b"[" * 100_000, bytes(TRUST_BYTES_MAX + 1), b"null", b"[]"])
def test_depth_and_size_are_refused(data: bytes) -> None:
    with pytest.raises(TrustRefused):
        Trust.parse(data)


@given(st.integers(0, len(a_trust().encode()) - 1), st.integers(1, 255))
def test_a_damaged_trust_file_is_refused_or_another_one(position: int, flip: int) -> None:
    data = bytearray(a_trust().encode())
    data[position] ^= flip

    try:
        found = Trust.parse(bytes(data))
    except TrustRefused:
        return

    assert found.digest() != a_trust().digest()
    assert found.encode() == bytes(data)


def test_the_trust_that_the_token_names_is_accepted() -> None:
    a_trust().check_token(a_token_for(a_trust()))


def test_a_trust_that_the_token_does_not_name_is_refused() -> None:
    token = a_token_for(a_trust())

    for other in (
        msgspec.structs.replace(a_trust(), domain="other.example"),
        msgspec.structs.replace(a_trust(), tenant=str(OTHER_TENANT)),
        msgspec.structs.replace(a_trust(), x509_root=a_pki().root.certificate_pem.decode()),
    ):
        with pytest.raises(TrustRefused):
            other.check_token(token)


def test_a_token_that_pins_another_root_or_tenant_than_its_trust_is_refused() -> None:
    token = a_token_for(a_trust())

    for other in (
        msgspec.structs.replace(token, root_der=b"another"),
        msgspec.structs.replace(token, tenant=OTHER_TENANT),
    ):
        with pytest.raises(TrustRefused):
            a_trust().check_token(other)
