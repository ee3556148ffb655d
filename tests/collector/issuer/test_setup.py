from pathlib import Path

import pytest

from certs.authority import RootAuthority
from certs.identity import TenantId
from collector.issuer.desk import Desk
from collector.issuer.errors import IssuerRefused, IssuerUnready
from collector.issuer.setup import add_tenant, set_up
from tests.collector.issuer.builders import DOMAIN, UID, some_settings
from tests.fakes.clock import FakeClock


def a_set_up_desk(folder: Path) -> tuple[Desk, RootAuthority]:
    clock = FakeClock()
    root = RootAuthority.create(DOMAIN, clock.wall)
    set_up(some_settings(folder), root, clock)
    return Desk(some_settings(folder), clock), root


def test_an_issuer_that_was_set_up_can_certify_servers_and_has_no_root_key(tmp_path: Path) -> None:
    desk, root = a_set_up_desk(tmp_path)

    assert desk.vault.collector().not_after_ns > desk.clock.wall_ns()
    secret = root.key.to_pem().splitlines()[1]
    held = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(secret in data for data in held)
    assert (tmp_path / "issuer").stat().st_mode & 0o077 == 0
    desk.close()


def test_an_issuer_is_set_up_once(tmp_path: Path) -> None:
    desk, root = a_set_up_desk(tmp_path)
    desk.close()

    with pytest.raises(IssuerUnready):
        set_up(some_settings(tmp_path), root, FakeClock())


def test_a_tenant_that_was_added_can_certify_agents(tmp_path: Path) -> None:
    desk, root = a_set_up_desk(tmp_path)
    chosen = TenantId(b"t" * 16)

    assert add_tenant(desk, root, "first", UID, chosen) == chosen
    other = add_tenant(desk, root, "second", UID)

    assert desk.vault.tenant(chosen).tenant == chosen
    assert desk.vault.tenant(other).tenant == other
    with pytest.raises(IssuerRefused):
        add_tenant(desk, root, "again", UID, chosen)
    desk.close()
