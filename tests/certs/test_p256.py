import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import BadSignature, KeyUnusable
from certs.p256 import SPKI_BYTES, P256Key, P256VerifyKey
from tests.certs.builders import shared_data

SPKI_HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")

# The one vector published with DSSE v1.0 (its protocol.md): a P-256 key, a payload, a signature.
DSSE_PAE = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
DSSE_POINT = (
    "0467cd390f77aa359cb08c2235f652270493a9ed832b0abcc01f70954c0390d2380c782bd54e2691"
    "25a44f4433aff1432ce94e12bca73aa67ac80cea12608ddf74"
)
DSSE_SIGNATURE = (
    "03726ab101ad56c2763b6c6aac8e487275e2a79193a09dc5f859d9f8ef3c4a3b51eab0c06a369b64"
    "a7222537d4887a893dc200ae21060074d57825235b624864"
)


class Vector(msgspec.Struct, frozen=True):
    name: str
    point: str
    message: str
    signature: str
    valid: bool


VECTORS = (
    Vector(
        "pseudorandom",
        (
            "0404aaec73635726f213fb8a9e64da3b8632e41495a944d0045b522eba7240fad587d9315798aaa3"
            "a5ba01775787ced05eaaf7b4e09fc81d6d1aa546e8365d525d"
        ),
        "",
        (
            "3045022100b292a619339f6e567a305c951c0dcbcc42d16e47f219f9e98e76e09d8770b34a022001"
            "77e60492c5a8242f76f07bfe3661bde59ec2a17ce5bd2dab2abebdf89a62e2"
        ),
        valid=True,
    ),
    Vector(
        "BER length",
        (
            "042927b10512bae3eddcfe467828128bad2903269919f7086069c8c4df6c732838c7787964eaac00"
            "e5921fb1498a60f4606766b3d9685001558d1a974e7341513e"
        ),
        "313233343030",
        (
            "30814502202ba3a8be6b94d5ec80a6d9d1190a436effe50d85a1eee859b8cc6af9bd5c2e18022100"
            "b329f479a2bbd0a5c384ee1493b1f5186a87139cac5df4087c134b49156847db"
        ),
        valid=False,
    ),
    Vector(
        "zeros appended",
        (
            "042927b10512bae3eddcfe467828128bad2903269919f7086069c8c4df6c732838c7787964eaac00"
            "e5921fb1498a60f4606766b3d9685001558d1a974e7341513e"
        ),
        "313233343030",
        (
            "304702202ba3a8be6b94d5ec80a6d9d1190a436effe50d85a1eee859b8cc6af9bd5c2e18022100b3"
            "29f479a2bbd0a5c384ee1493b1f5186a87139cac5df4087c134b49156847db0000"
        ),
        valid=False,
    ),
    Vector(
        "r replaced by r + n",
        (
            "042927b10512bae3eddcfe467828128bad2903269919f7086069c8c4df6c732838c7787964eaac00"
            "e5921fb1498a60f4606766b3d9685001558d1a974e7341513e"
        ),
        "313233343030",
        (
            "30460221012ba3a8bd6b94d5ed80a6d9d1190a436ebccc0833490686deac8635bcb9bf5369022100"
            "b329f479a2bbd0a5c384ee1493b1f5186a87139cac5df4087c134b49156847db"
        ),
        valid=False,
    ),
    Vector(
        "zero r and s",
        (
            "042927b10512bae3eddcfe467828128bad2903269919f7086069c8c4df6c732838c7787964eaac00"
            "e5921fb1498a60f4606766b3d9685001558d1a974e7341513e"
        ),
        "313233343030",
        "3006020100020100",
        valid=False,
    ),
    Vector(
        "special case hash",
        (
            "042927b10512bae3eddcfe467828128bad2903269919f7086069c8c4df6c732838c7787964eaac00"
            "e5921fb1498a60f4606766b3d9685001558d1a974e7341513e"
        ),
        "343236343739373234",
        (
            "3044022016aea964a2f6506d6f78c81c91fc7e8bded7d397738448de1e19a0ec580bf2660220252c"
            "d762130c6667cfe8b7bc47d27d78391e8e80c578d1cd38c3ff033be928e9"
        ),
        valid=True,
    ),
    Vector(
        "small r and s",
        (
            "04a71af64de5126a4a4e02b7922d66ce9415ce88a4c9d25514d91082c8725ac9575d47723c8fbe58"
            "0bb369fec9c2665d8e30a435b9932645482e7c9f11e872296b"
        ),
        "313233343030",
        "3006020105020101",
        valid=True,
    ),
    Vector(
        "point at infinity",
        (
            "04b533d4695dd5b8c5e07757e55e6e516f7e2c88fa0239e23f60e8ec07dd70f2871b134ee58cc583"
            "278456863f33c3a85d881f7d4a39850143e29d4eaf009afe47"
        ),
        "313233343030",
        (
            "304402207fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a802205555"
            "55550000000055555555555555553ef7a8e48d07df81a693439654210c70"
        ),
        valid=False,
    ),
)


def verdict(point: str, message: str, signature: str) -> bool:
    key = P256VerifyKey.from_spki(SPKI_HEAD + bytes.fromhex(point))
    try:
        key.verify(bytes.fromhex(signature), bytes.fromhex(message))
    except BadSignature:
        return False
    return True


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_a_published_signature_is_judged_as_published(vector: Vector) -> None:
    assert verdict(vector.point, vector.message, vector.signature) == vector.valid


def test_every_published_p256_case_is_judged_as_published() -> None:
    path = shared_data() / "wycheproof/ecdsa_secp256r1_sha256_test.json"
    suite = json.loads(path.read_text())

    wrong = [
        case["tcId"]
        for group in suite["testGroups"]
        for case in group["tests"]
        if verdict(group["publicKey"]["uncompressed"], case["msg"], case["sig"])
        != (case["result"] == "valid")
    ]

    assert wrong == []
    assert suite["numberOfTests"] == 484


def test_the_published_dsse_vector_verifies() -> None:
    key = P256VerifyKey.from_spki(SPKI_HEAD + bytes.fromhex(DSSE_POINT))
    raw = bytes.fromhex(DSSE_SIGNATURE)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")

    key.verify(encode_dss_signature(r, s), DSSE_PAE)

    with pytest.raises(BadSignature):
        key.verify(encode_dss_signature(r, s), DSSE_PAE + b"!")


@given(st.binary(max_size=300))
def test_what_a_key_signs_its_public_half_verifies(data: bytes) -> None:
    key = P256Key.generate()

    key.public.verify(key.sign(data), data)

    with pytest.raises(BadSignature):
        key.public.verify(key.sign(data), data + b"\0")


@given(st.binary(max_size=120))
def test_any_bytes_as_a_signature_are_bad(signature: bytes) -> None:
    with pytest.raises(BadSignature):
        P256Key.generate().public.verify(signature, b"data")


def test_a_public_key_survives_its_own_encoding() -> None:
    key = P256Key.generate().public

    read = P256VerifyKey.from_spki(key.spki)

    assert read == key
    assert hash(read) == hash(key)
    assert read.fingerprint == hashlib.sha256(key.spki).digest()
    assert read != key.spki


def accepted(parse: Callable[[bytes], object], inputs: Mapping[str, bytes]) -> list[str]:
    found = []
    for name, data in inputs.items():
        try:
            parse(data)
        except KeyUnusable:
            continue
        found.append(name)
    return found


def spki_of(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_a_public_key_of_another_kind_or_form_is_refused() -> None:
    key = P256Key.generate().public
    point = key.spki[len(SPKI_HEAD) :]
    off_curve = point[:-1] + bytes([point[-1] ^ 1])
    refused = {
        "another curve": spki_of(ec.generate_private_key(ec.SECP384R1()).public_key()),
        "a curve of the same size": spki_of(ec.generate_private_key(ec.SECP256K1()).public_key()),
        "ed25519": spki_of(ed25519.Ed25519PrivateKey.generate().public_key()),
        "compressed": key.native.public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
        "raw point": point,
        "hybrid point": SPKI_HEAD + bytes([6 | point[-1] & 1]) + point[1:],
        "off the curve": SPKI_HEAD + off_curve,
        "infinity": SPKI_HEAD + bytes(65),
        "bytes after": key.spki + b"\0",
        "cut": key.spki[:-1],
        "nothing": b"",
    }

    assert accepted(P256VerifyKey.from_spki, refused) == []


@given(st.binary(max_size=65), st.booleans())
def test_any_bytes_are_a_public_key_or_refused(data: bytes, headed: bool) -> None:
    spki = (SPKI_HEAD + data).ljust(SPKI_BYTES, b"\0") if headed else data

    try:
        key = P256VerifyKey.from_spki(spki)
    except KeyUnusable:
        return

    assert key.spki == spki


def test_a_private_key_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "tls.key"
    key = P256Key.generate()

    key.save(path)

    assert P256Key.load(path).public == key.public
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "tls.key"

    first, second = P256Key.ensure(path), P256Key.ensure(path)

    assert first.public == second.public


def test_a_key_file_that_is_no_good_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "tls.key"
    path.write_bytes(b"damaged")
    path.chmod(0o600)

    with pytest.raises(KeyUnusable):
        P256Key.ensure(path)

    assert path.read_bytes() == b"damaged"


def test_a_private_key_of_another_kind_or_form_is_refused() -> None:
    key = P256Key.generate()
    other_curve = ec.generate_private_key(ec.SECP384R1())
    edwards = ed25519.Ed25519PrivateKey.generate()
    pkcs8 = (Encoding.PEM, PrivateFormat.PKCS8)
    refused = {
        "another curve": other_curve.private_bytes(*pkcs8, NoEncryption()),
        "ed25519": edwards.private_bytes(*pkcs8, NoEncryption()),
        "encrypted": key.native.private_bytes(*pkcs8, BestAvailableEncryption(b"word")),
        "damaged": key.to_pem()[:-40],
        "nothing": b"",
    }

    assert accepted(P256Key.from_pem, refused) == []


def test_a_private_key_never_prints_its_secret() -> None:
    key = P256Key.generate()
    secret = f"{key.native.private_numbers().private_value:x}"

    shown = repr(key) + str(key) + repr(key.public)

    assert secret not in shown
    assert key.public.fingerprint.hex() in shown
