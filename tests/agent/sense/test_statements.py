import pytest

from agent.errors import DoorError
from agent.sense.statements import STATEMENTS_PER_HOUR_MAX, StatementDesk
from proto import codec, envelope
from proto.envelope import PayloadType
from proto.errors import EnvelopeRejected
from proto.model import StatementKind
from tests.agent.sense.builders import Host


def a_desk() -> tuple[Host, StatementDesk]:
    host = Host()
    return host, StatementDesk(host.key, host.key.public.raw, host.facts, host.clock)


def test_a_statement_holds_only_two_values_of_others_and_leaves_a_record() -> None:
    host, desk = a_desk()

    made = desk.sign(StatementKind.RENEW, b"s" * 32, b"n" * 16)
    statement = codec.decode_statement(made.payload)

    envelope.verify(PayloadType.STATEMENT, made.payload, made.signature, host.key.public)
    assert (statement.spki_sha256, statement.nonce) == (b"s" * 32, b"n" * 16)
    assert (statement.tenant, statement.agent) == (host.facts.tenant, host.facts.agent)
    assert statement.public_key == host.key.public.raw
    assert made.audit.action == "statement.renew"


def test_no_more_than_four_an_hour_are_signed() -> None:
    host, desk = a_desk()
    for _ in range(STATEMENTS_PER_HOUR_MAX):
        desk.sign(StatementKind.RENEW, bytes(32), bytes(16))

    with pytest.raises(DoorError):
        desk.sign(StatementKind.RENEW, bytes(32), bytes(16))
    host.clock.forward(3601)

    assert desk.sign(StatementKind.RENEW, bytes(32), bytes(16)).signature


@pytest.mark.parametrize("kind", [StatementKind.ENROL, StatementKind.SUCCEED])
def test_kinds_that_change_who_we_are_are_never_signed_on_request(kind: StatementKind) -> None:
    _, desk = a_desk()

    with pytest.raises(DoorError):
        desk.sign(kind, bytes(32), bytes(16))


def test_a_signed_statement_is_no_batch_and_no_receipt() -> None:
    host, desk = a_desk()
    made = desk.sign(StatementKind.RENEW, bytes(32), bytes(16))

    for kind in (PayloadType.BATCH, PayloadType.RECEIPT):
        with pytest.raises(EnvelopeRejected):
            envelope.verify(kind, made.payload, made.signature, host.key.public)
