from pathlib import Path
from typing import get_args

import pytest

from collector.issuer import messages, operations
from collector.issuer.administer import read_audit
from collector.issuer.errors import IssuerRefused, Refusal
from collector.issuer.messages import (
    Begin,
    CreateTenant,
    InstallAuthority,
    InstallTrust,
    ListAgents,
    ListTenants,
    MintToken,
    ReadAudit,
    Readmit,
    Request,
    RequestAuthority,
    Revoke,
    Watch,
)
from collector.issuer.operations import Caller, Role, perform
from tests.collector.issuer.builders import UID, Host, House, a_house, an_enrolled_host

ADMIN = Caller(UID, frozenset(Role))
GATEWAY = Caller(UID + 1, frozenset({Role.GATEWAY}))
STRANGER = Caller(UID + 2, frozenset())


def refusals(house: House) -> list[tuple[str, str, str]]:
    lines = read_audit(house.desk, ReadAudit(), UID).lines
    return [
        (line.entry.operation, line.entry.outcome, line.entry.source)
        for line in lines
        if line.entry.outcome != "granted"
    ]


def reason(house: House, request: Request, caller: Caller) -> Refusal | None:
    try:
        perform(house.desk, request, caller)
    except IssuerRefused as error:
        return error.reason
    return None


def test_every_kind_of_request_is_in_exactly_one_table() -> None:
    known = [*operations._FOR_GATEWAYS, *operations._FOR_ADMINS]  # noqa: SLF001 - the law is about it

    assert sorted(kind.__name__ for kind in known) == sorted(
        kind.__name__ for kind in get_args(messages.Request)
    )


def for_administrators(house: House, host: Host) -> list[Request]:
    return [
        MintToken(tenant=house.tenant),
        ListAgents(tenant=house.tenant),
        Revoke(peer=host.peer, reason="stolen"),
        Readmit(peer=host.peer),
        ListTenants(),
        CreateTenant(name="second"),
        RequestAuthority(owner=house.tenant),
        InstallAuthority(certificate_pem=b"x"),
        InstallTrust(tenant=house.tenant, trust=b"{}"),
        ReadAudit(),
    ]


def test_a_gateway_may_not_ask_what_is_an_administrators(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)

    for request in for_administrators(house, host):
        assert reason(house, request, GATEWAY) is Refusal.CALLER

    assert reason(house, Begin(tenant=house.tenant), GATEWAY) is None
    assert reason(house, Watch(after=0, wait_s=0), GATEWAY) is None


def test_a_stranger_may_ask_nothing(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)

    for request in (
        *for_administrators(house, host),
        Begin(tenant=house.tenant),
        Watch(after=0, wait_s=0),
        host.renew_request(house.desk),
    ):
        assert reason(house, request, STRANGER) is Refusal.CALLER


def test_an_administrator_may_ask_everything(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)

    for request in (*for_administrators(house, host), Begin(tenant=house.tenant)):
        assert reason(house, request, ADMIN) is not Refusal.CALLER


def test_each_refused_attempt_is_written_down_with_where_it_came_from(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    token = Host(house.tenant, house.clock).enroll_request(house.desk, bytes(32))

    reason(house, token, GATEWAY)
    reason(house, MintToken(tenant=house.tenant), GATEWAY)
    reason(house, InstallTrust(tenant=house.tenant, trust=b"{}"), ADMIN)
    host.serial = bytes(20)
    reason(house, host.renew_request(house.desk), GATEWAY)

    assert refusals(house) == [
        ("enroll", "token", "192.0.2.7"),
        ("mint_token", "caller", f"uid {GATEWAY.uid}"),
        ("install_trust", "trust", f"uid {UID}"),
        ("renew", "serial", "192.0.2.7"),
    ]


def test_a_refusal_never_writes_a_secret_down(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    secret = b"\x5a" * 32
    request = Host(house.tenant, house.clock).enroll_request(house.desk, secret)

    reason(house, request, GATEWAY)
    house.desk.close()

    held = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert secret not in held
    assert "5a5a" not in repr(request)


@pytest.mark.parametrize("caller", [GATEWAY, ADMIN], ids=["gateway", "admin"])
def test_looking_and_beginning_leave_no_line(tmp_path: Path, caller: Caller) -> None:
    house = a_house(tmp_path)
    before = len(read_audit(house.desk, ReadAudit(), UID).lines)

    reason(house, Begin(tenant=house.tenant), caller)
    reason(house, Watch(after=0, wait_s=0), caller)

    assert len(read_audit(house.desk, ReadAudit(), UID).lines) == before
