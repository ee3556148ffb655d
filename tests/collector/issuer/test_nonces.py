import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.issuer.errors import IssuerBusy, IssuerRefused, Refusal
from collector.issuer.nonces import NONCE_BYTES, Nonces

LIFE_NS = 60
START_NS = 1_000


def some_nonces(used_max: int = 100, key: bytes = bytes(32)) -> Nonces:
    return Nonces(key, LIFE_NS, used_max)


def refused(nonces: Nonces, nonce: bytes, now_ns: int) -> bool:
    try:
        nonces.take(nonce, now_ns)
    except IssuerRefused as error:
        return error.reason is Refusal.NONCE
    return False


def test_a_nonce_is_good_once() -> None:
    nonces = some_nonces()
    nonce = nonces.make(START_NS, bytes(8))

    nonces.take(nonce, START_NS)

    assert refused(nonces, nonce, START_NS)
    assert len(nonce) == NONCE_BYTES


@pytest.mark.parametrize(("age_ns", "good"), [(0, True), (59, True), (60, False), (-1, False)])
def test_a_nonce_is_good_for_its_life(age_ns: int, good: bool) -> None:
    nonces = some_nonces()

    assert refused(nonces, nonces.make(START_NS, bytes(8)), START_NS + age_ns) is not good


def test_nonces_of_another_process_are_not_ours() -> None:
    foreign = some_nonces(key=b"\1" * 32).make(START_NS, bytes(8))

    assert refused(some_nonces(), foreign, START_NS)


@given(st.integers(0, NONCE_BYTES * 8 - 1))
def test_one_flipped_bit_voids_a_nonce(bit: int) -> None:
    nonces = some_nonces()
    nonce = bytearray(nonces.make(START_NS, b"12345678"))
    nonce[bit // 8] ^= 1 << bit % 8

    assert refused(nonces, bytes(nonce), START_NS)


@given(st.binary(max_size=64))
def test_any_bytes_are_refused(nonce: bytes) -> None:
    assert refused(some_nonces(), nonce, START_NS)


def test_asking_for_nonces_fills_no_memory_and_only_used_ones_are_bounded() -> None:
    nonces = some_nonces(used_max=2)
    made = [nonces.make(START_NS + n, bytes(8)) for n in range(10)]
    nonces.take(made[0], START_NS + 10)
    nonces.take(made[1], START_NS + 10)

    with pytest.raises(IssuerBusy):
        nonces.take(made[2], START_NS + 10)

    late_ns = START_NS + 10 + LIFE_NS
    nonces.take(nonces.make(late_ns, bytes(8)), late_ns)


def test_a_used_nonce_is_remembered_for_as_long_as_it_would_be_good() -> None:
    nonces = some_nonces()
    nonce = nonces.make(START_NS, bytes(8))
    nonces.take(nonce, START_NS + 30)

    assert all(refused(nonces, nonce, START_NS + age) for age in range(30, 2 * LIFE_NS))
