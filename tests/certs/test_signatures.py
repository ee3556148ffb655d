import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import BadSignature, KeyUnusable
from certs.signatures import KEY_BYTES, SIGNATURE_BYTES, SigningKey, VerifyKey
from tests.certs.builders import shared_data

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


class Vector(msgspec.Struct, frozen=True):
    name: str
    key: str
    message: str
    signature: str
    valid: bool


VECTORS = (
    Vector(
        "one byte",
        "7d4d0e7f6153a69b6242b522abbee685fda4420f8834b108c3bdae369ef549fa",
        "78",
        (
            "d80737358ede548acb173ef7e0399f83392fe8125b2ce877de7975d8b726ef5b1e76632280ee38af"
            "ad12125ea44b961bf92f1178c9fa819d020869975bcbe109"
        ),
        valid=True,
    ),
    Vector(
        "zero r and s",
        "7d4d0e7f6153a69b6242b522abbee685fda4420f8834b108c3bdae369ef549fa",
        "3f",
        (
            "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
            "000000000000000000000000000000000000000000000000"
        ),
        valid=False,
    ),
    Vector(
        "signature with bytes after it",
        "7d4d0e7f6153a69b6242b522abbee685fda4420f8834b108c3bdae369ef549fa",
        "54657374",
        (
            "7c38e026f29e14aabd059a0f2db8b0cd783040609a8be684db12f82a27774ab07a9155711ecfaf7f"
            "99f277bad0c6ae7e39d4eef676573336a5c51eb6f946b30d2020"
        ),
        valid=False,
    ),
    Vector(
        "s replaced by s + L",
        "7d4d0e7f6153a69b6242b522abbee685fda4420f8834b108c3bdae369ef549fa",
        "54657374",
        (
            "7c38e026f29e14aabd059a0f2db8b0cd783040609a8be684db12f82a27774ab067654bce3832c2d7"
            "6f8f6f5dafc08d9339d4eef676573336a5c51eb6f946b31d"
        ),
        valid=False,
    ),
    Vector(
        "s just above the bound",
        "100fdf47fb94f1536a4f7c3fda27383fa03375a8f527c537e6f1703c47f94f86",
        "6a0bc2b0057cedfc0fa2e3f7f7d39279b30f454a69dfd1117c758d86b19d85e0",
        (
            "0971f86d2c9c78582524a103cb9cf949522ae528f8054dc20107d999be673ff4e25ebf2f2928766b"
            "1248bec6e91697775f8446639ede46ad4df4053000000010"
        ),
        valid=False,
    ),
    Vector(
        "random key",
        "32ad026f693d0d2afe7f4388d91c4c964426fcb9e3665c3ebd8650009b815c8e",
        "a1",
        (
            "1a74ed2cbdc7d8f3827014e8e6ecf8fd2698ac8f86833acccdd400df710fe0d6b0543c9cfa00d52b"
            "f024ab7ce0d91981944097233ec134d5c7abbd44bfd32d0d"
        ),
        valid=True,
    ),
)


def verdict(key: str, message: str, signature: str) -> bool:
    try:
        VerifyKey(bytes.fromhex(key)).verify(bytes.fromhex(signature), bytes.fromhex(message))
    except BadSignature:
        return False
    return True


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_a_published_signature_is_judged_as_published(vector: Vector) -> None:
    assert verdict(vector.key, vector.message, vector.signature) == vector.valid


def test_every_published_ed25519_case_is_judged_as_published() -> None:
    suite = json.loads((shared_data() / "wycheproof/ed25519_test.json").read_text())

    wrong = [
        case["tcId"]
        for group in suite["testGroups"]
        for case in group["tests"]
        if verdict(group["publicKey"]["pk"], case["msg"], case["sig"])
        != (case["result"] == "valid")
    ]

    assert wrong == []
    assert suite["numberOfTests"] == 151


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300))
def test_what_a_key_signs_its_public_half_verifies(seed: bytes, data: bytes) -> None:
    key = SigningKey.from_private_bytes(seed)

    signature = key.sign(data)

    key.public.verify(signature, data)
    assert len(signature) == SIGNATURE_BYTES
    assert key.private_bytes() == seed


@given(st.binary(min_size=1, max_size=64), st.data())
def test_one_flipped_bit_anywhere_is_a_bad_signature(data: bytes, draw: st.DataObject) -> None:
    key = SigningKey.from_private_bytes(bytes(range(32)))
    whole = bytearray(key.sign(data) + data)
    bit = draw.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8

    with pytest.raises(BadSignature):
        key.public.verify(bytes(whole[:64]), bytes(whole[64:]))


@pytest.mark.parametrize("size", [0, 1, 63, 65, 128])
def test_a_signature_of_another_length_is_bad(size: int) -> None:
    with pytest.raises(BadSignature):
        SigningKey.generate().public.verify(bytes(size), b"data")


def test_another_keys_signature_is_bad() -> None:
    with pytest.raises(BadSignature):
        SigningKey.generate().public.verify(SigningKey.generate().sign(b"data"), b"data")


Point = tuple[int, int]


def add(a: Point, b: Point) -> Point:
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2
    return (
        (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P,
    )


def times(scalar: int, point: Point) -> Point:
    total = (0, 1)
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
    return total


def on_curve(y: int) -> Point | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (x, y) if x * x % P == square else None


def small_order_points() -> set[Point]:
    """All points of order 1, 2, 4 and 8: a random point times the order of the main subgroup."""
    order = 2**252 + 27742317777372353535851937790883648493
    found: set[Point] = set()
    for y in range(2, 60):
        point = on_curve(y)
        if point is None:
            continue
        torsion = times(order, point)
        found |= {times(scalar, torsion) for scalar in range(8)}
        if len(found) == 8:
            break
    return found


def test_a_key_of_small_order_is_refused_in_every_spelling() -> None:
    points = small_order_points()

    spellings = {
        (y + extra * P) | sign << 255
        for _, y in points
        for extra in (0, 1)
        for sign in (0, 1)
        if y + extra * P < 2**255
    }

    assert len(points) == 8
    assert len(spellings) == 14
    for spelling in spellings:
        with pytest.raises(KeyUnusable):
            VerifyKey(spelling.to_bytes(32, "little"))


@pytest.mark.parametrize("y", [P, P + 1, P + 3, 2**255 - 1])
def test_a_key_that_is_not_reduced_is_refused(y: int) -> None:
    for sign in (0, 1):
        with pytest.raises(KeyUnusable):
            VerifyKey((y | sign << 255).to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_has_thirty_two_bytes(size: int) -> None:
    with pytest.raises(KeyUnusable):
        VerifyKey(bytes(size))
    with pytest.raises(KeyUnusable):
        SigningKey.from_private_bytes(bytes(size))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_key_or_refused(raw: bytes) -> None:
    try:
        key = VerifyKey(raw)
    except KeyUnusable:
        return

    assert key.raw == raw
    with pytest.raises(BadSignature):
        key.verify(bytes(64), b"")


def test_a_key_is_known_by_a_hash_that_is_no_plain_hash_of_it() -> None:
    key = SigningKey.from_private_bytes(bytes(32)).public

    assert key.key_id.hex() == "f92c26b7b0fa7af18f5b13f196acec3b163f26458482dba390ab0cfc225974b1"
    assert len(key.key_id) == KEY_BYTES


def test_keys_compare_by_their_bytes() -> None:
    one, other = SigningKey.generate().public, SigningKey.generate().public

    assert VerifyKey(one.raw) == one
    assert one != other
    assert one != one.raw
    assert len({one, VerifyKey(one.raw), other}) == 2


def test_a_signing_key_never_prints_its_secret() -> None:
    key = SigningKey.from_private_bytes(b"\x5a" * 32)

    shown = repr(key) + str(key) + repr(key.public)

    assert "5a5a5a5a" not in shown
    assert key.public.raw.hex() in shown
