from pathlib import Path

import pytest

from collector.ledger.files import TenantFiles
from tests.collector.sealing import OTHER_TENANT, TENANT


def test_only_directories_named_by_a_tenant_that_hold_a_ledger_count(tmp_path: Path) -> None:
    files = TenantFiles(tmp_path)
    for tenant in (OTHER_TENANT, TENANT):
        files.make(tenant)
    files.ledger(TENANT).touch()
    (tmp_path / "tenants" / "lost+found").mkdir()
    (tmp_path / "tenants" / "NOT-A-UUID").touch()

    assert files.tenants() == [TENANT]
    assert TenantFiles(tmp_path / "nowhere").tenants() == []


def test_a_tenants_directory_is_closed_to_others_and_made_once(tmp_path: Path) -> None:
    files = TenantFiles(tmp_path)

    files.make(TENANT)
    files.make(TENANT)

    assert files.directory(TENANT).stat().st_mode & 0o777 == 0o700
    assert files.log(TENANT).parent == files.directory(TENANT)


@pytest.mark.parametrize("name", ["ledger", "log", "", "../x", "Index", "a/b", "a.b", "x" * 40])
def test_no_projection_takes_a_name_that_is_not_a_word_of_its_own(
    tmp_path: Path, name: str
) -> None:
    files = TenantFiles(tmp_path)

    assert files.projection(TENANT, "index").name == "index.db"
    with pytest.raises(ValueError, match="cannot name"):
        files.projection(TENANT, name)
