from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.identity import AgentId, PeerIdentity, TenantId
from collector.issuer import messages
from collector.issuer.errors import (
    IssuerBusy,
    IssuerError,
    IssuerRefused,
    IssuerUnready,
    Refusal,
)
from collector.issuer.messages import (
    Begin,
    Done,
    Enroll,
    Failed,
    MintToken,
    Renew,
    SignedStatement,
    decode_reply,
    decode_request,
    encode,
    failure,
    raise_failure,
)

TENANT = TenantId(b"t" * 16)
PEER = PeerIdentity(TenantId(b"t" * 16), AgentId(b"a" * 16))
SAID = SignedStatement(b"payload", bytes(64))


def an_enroll(**changes: object) -> Enroll:
    good = Enroll(secret=bytes(32), csr=b"csr", statement=SAID, source="192.0.2.7")
    return msgspec.structs.replace(good, **changes)


@pytest.mark.parametrize(
    "request_",
    [
        Begin(tenant=TENANT),
        an_enroll(),
        Renew(peer=PEER, serial=bytes(20), csr=b"csr", statement=SAID, source=""),
        MintToken(tenant=TENANT),
    ],
    ids=lambda request: type(request).__name__,
)
def test_a_request_crosses_the_socket_as_it_is(request_: messages.Request) -> None:
    assert decode_request(encode(request_)) == request_


def test_every_kind_has_a_name_of_its_own() -> None:
    for union in (messages.Request, messages.Reply):
        tags = [kind.__struct_config__.tag for kind in get_args(union)]
        assert len(set(tags)) == len(tags)


def changed(**fields: object) -> bytes:
    found = msgspec.msgpack.decode(encode(an_enroll()))
    return msgspec.msgpack.encode(found | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"op": "unknown"},
        {"op": 1},
        {"more": 1},
        {"secret": bytes(31)},
        {"secret": "text"},
        {"csr": b""},
        {"csr": bytes(4097)},
        {"statement": None},
        {"statement": {"payload": b"", "signature": bytes(64)}},
        {"statement": {"payload": bytes(8193), "signature": bytes(64)}},
        {"statement": {"payload": b"x", "signature": bytes(63)}},
        {"statement": {"payload": b"x", "signature": bytes(64), "key_id": b"x"}},
        {"source": "x" * 129},
    ],
    ids=lambda fields: f"{next(iter(fields))} {len(str(fields))}",
)
def test_a_request_with_an_impossible_field_is_refused(fields: dict[str, object]) -> None:
    assert decode_request(changed()) == an_enroll()

    with pytest.raises(IssuerRefused) as caught:
        decode_request(changed(**fields))

    assert caught.value.reason is Refusal.MALFORMED


def test_an_id_of_another_length_is_malformed() -> None:
    data = msgspec.msgpack.encode({"op": "begin", "tenant": {"bytes": bytes(15)}})

    with pytest.raises(IssuerRefused) as caught:
        decode_request(data)

    assert caught.value.reason is Refusal.MALFORMED


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_by_both_ends(data: bytes) -> None:
    with pytest.raises(IssuerRefused):
        decode_request(data)
    with pytest.raises(IssuerUnready):
        decode_reply(data)


@given(st.integers(0, len(encode(an_enroll())) - 1), st.integers(1, 255))
def test_a_damaged_request_is_refused_or_another_request(position: int, flip: int) -> None:
    data = bytearray(encode(an_enroll()))
    data[position] ^= flip

    try:
        found = decode_request(bytes(data))
    except IssuerRefused:
        return

    assert found != an_enroll()


def test_depth_is_refused() -> None:
    with pytest.raises(IssuerRefused):
        decode_request(b"\x91" * 100_000)


@pytest.mark.parametrize(
    "error",
    [
        IssuerRefused(Refusal.TOKEN, "no", hint="ask"),
        IssuerBusy("full", retry_after_s=2.5),
        IssuerUnready("no key", hint="restore it"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_what_it_was(error: IssuerError) -> None:
    reply = decode_reply(encode(failure(error)))
    assert isinstance(reply, Failed)

    with pytest.raises(type(error)) as caught:
        raise_failure(reply)

    assert (caught.value.message, caught.value.hint) == (error.message, error.hint)
    assert vars(caught.value) == vars(error)


def test_a_message_never_prints_a_secret() -> None:
    shown = repr(an_enroll(secret=b"\x5a" * 32)) + str(an_enroll(secret=b"\x5a" * 32))

    assert "ZZZ" not in shown
    assert repr(Done()) == "Done()"
