import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.identity import TenantId
from certs.p256 import P256Key
from certs.request import create_request
from certs.signatures import SigningKey
from collector.issuer.errors import IssuerRefused, Refusal
from collector.issuer.messages import SignedStatement
from collector.issuer.proof import Proof, check_proof
from proto.codec import encode_statement
from proto.envelope import PayloadType, sign
from proto.model import StatementKind
from tests.collector.issuer.builders import Host
from tests.fakes.clock import FakeClock

TENANT = TenantId(b"t" * 16)
NONCE = bytes(32)
HOST = Host(TENANT, FakeClock())


def check(
    said: SignedStatement, csr: bytes = HOST.csr, kind: StatementKind = StatementKind.ENROL
) -> Proof:
    return check_proof(csr, said.payload, said.signature, kind)


def reason_of(
    said: SignedStatement, csr: bytes = HOST.csr, kind: StatementKind = StatementKind.ENROL
) -> Refusal | None:
    try:
        check(said, csr, kind)
    except IssuerRefused as error:
        return error.reason
    return None


def test_a_proof_says_who_by_the_key_it_is_signed_with() -> None:
    statement = HOST.statement(StatementKind.ENROL, NONCE)

    proof = check(HOST.signed(statement))

    assert proof.identity == HOST.peer
    assert proof.request.public == HOST.tls.public
    assert proof.statement == statement


def test_the_same_words_are_the_same_proof_and_other_words_are_not() -> None:
    said = HOST.signed(HOST.statement(StatementKind.ENROL, NONCE))
    other = HOST.signed(HOST.statement(StatementKind.ENROL, b"\1" * 32))

    assert check(said).digest == check(said).digest
    assert check(said).digest != check(other).digest


OTHER = SigningKey.generate()
GOOD = HOST.statement(StatementKind.ENROL, NONCE)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": 2},
        {"kind": StatementKind.RENEW},
        {"kind": StatementKind.SUCCEED},
        {"kind": StatementKind.UNSPECIFIED},
        {"agent": bytes(16)},
        {"public_key": OTHER.public.raw},
        {"public_key": bytes([1]) + bytes(31)},
        {"public_key": b"\xff" * 32},
        {"spki_sha256": bytes(32)},
        {"new_public_key": OTHER.public.raw},
    ],
    ids=str,
)
def test_a_statement_that_is_not_exactly_what_is_needed_is_refused(
    changes: dict[str, object],
) -> None:
    said = HOST.signed(msgspec.structs.replace(GOOD, **changes))

    assert reason_of(said) is Refusal.STATEMENT


def test_a_statement_signed_by_another_key_is_refused() -> None:
    said = HOST.signed(HOST.statement(StatementKind.ENROL, NONCE), OTHER)

    assert reason_of(said) is Refusal.STATEMENT


@pytest.mark.parametrize(
    "other", [kind for kind in PayloadType if kind is not PayloadType.STATEMENT]
)
def test_a_signature_over_the_same_bytes_as_another_type_is_refused(other: PayloadType) -> None:
    payload = encode_statement(HOST.statement(StatementKind.ENROL, NONCE))

    said = SignedStatement(payload, sign(other, payload, HOST.signing))

    assert reason_of(said) is Refusal.STATEMENT


def test_a_statement_about_another_tls_key_is_refused() -> None:
    said = HOST.signed(HOST.statement(StatementKind.ENROL, NONCE))

    assert reason_of(said, create_request(P256Key.generate())) is Refusal.STATEMENT


def test_a_request_that_is_none_is_refused() -> None:
    said = HOST.signed(HOST.statement(StatementKind.ENROL, NONCE))

    assert reason_of(said, b"no request") is Refusal.REQUEST


@given(st.binary(max_size=200), st.binary(max_size=80))
def test_any_bytes_as_a_statement_are_refused(payload: bytes, signature: bytes) -> None:
    assert reason_of(SignedStatement(payload, signature)) is Refusal.STATEMENT


SAID = HOST.signed(HOST.statement(StatementKind.ENROL, NONCE))


@given(st.integers(0, (len(SAID.payload) + len(SAID.signature)) * 8 - 1))
def test_one_flipped_bit_in_a_statement_or_its_signature_is_refused(bit: int) -> None:
    whole = bytearray(SAID.payload + SAID.signature)
    whole[bit // 8] ^= 1 << bit % 8
    cut = len(SAID.payload)

    assert reason_of(SignedStatement(bytes(whole[:cut]), bytes(whole[cut:]))) is Refusal.STATEMENT
