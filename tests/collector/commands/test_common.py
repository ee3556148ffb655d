import argparse
import sqlite3
from pathlib import Path

import pytest

from certs.identity import TenantId
from collector.commands.common import (
    NoSuchTenant,
    NothingYet,
    add_json,
    add_tenant,
    count,
    identifier,
    print_rows,
    projection,
    say,
    settings_of,
    tenant_of,
    tenants_of,
)
from collector.errors import IssuerUnavailable, LedgerCorrupt, LedgerUnavailable
from tests.collector.shell import Shell


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shell, TenantId, TenantId]:
    """A collector of two tenants."""
    shell = Shell(tmp_path_factory.mktemp("two"))
    return shell, shell.init("acme"), shell.add_tenant("globex")


def words(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_tenant(parser)
    add_json(parser)
    return parser.parse_args(argv)


def test_a_tenant_is_named_by_name_or_by_id(two: tuple[Shell, TenantId, TenantId]) -> None:
    shell, acme, globex = two
    with shell.issuing():
        assert tenant_of(words("--tenant", "acme"), shell.settings) == acme
        assert tenant_of(words("--tenant", str(globex)), shell.settings) == globex


def test_of_two_tenants_one_has_to_be_named(two: tuple[Shell, TenantId, TenantId]) -> None:
    shell, *_ = two
    with shell.issuing(), pytest.raises(NoSuchTenant, match="name one tenant") as caught:
        tenant_of(words(), shell.settings)

    assert caught.value.exit_code == 2
    assert "acme, globex" in caught.value.hint


@pytest.mark.parametrize("name", ["nobody", "ac", "", "00000000-0000-4000-8000-000000000000"])
def test_a_tenant_that_is_not_there_is_never_guessed(
    two: tuple[Shell, TenantId, TenantId], name: str
) -> None:
    shell, *_ = two
    with shell.issuing(), pytest.raises(NoSuchTenant, match="there is no tenant") as caught:
        tenant_of(words("--tenant", name), shell.settings)

    assert "acme, globex" in caught.value.hint


def test_the_only_tenant_need_not_be_named(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()

    with shell.issuing():
        assert tenant_of(words(), shell.settings) == tenant


def test_two_tenants_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    tenants = {shell.init("acme"), shell.add_tenant("acme")}

    with shell.issuing(), pytest.raises(NoSuchTenant, match="several tenants") as caught:
        tenant_of(words("--tenant", "acme"), shell.settings)

    assert all(str(tenant) in caught.value.hint for tenant in tenants)


def test_more_tenants_than_fit_one_answer_are_all_found(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.init()
    names = {f"t{number}" for number in range(70)}
    for name in names:
        shell.add_tenant(name)

    with shell.issuing():
        found = [tenant.name for tenant in tenants_of(shell.settings)]

    assert len(found) == 71
    assert set(found) == names | {"acme"}


def test_without_an_issuer_names_are_not_known_and_that_is_said(
    two: tuple[Shell, TenantId, TenantId],
) -> None:
    shell, *_ = two
    for argv in ((), ("--tenant", "acme")):
        with pytest.raises(IssuerUnavailable) as caught:
            tenant_of(words(*argv), shell.settings)
        assert caught.value.exit_code == 5
        assert "vedette-collector run" in caught.value.hint


def test_without_an_issuer_what_was_collected_is_found_by_the_tenants_id(
    two: tuple[Shell, TenantId, TenantId],
) -> None:
    shell, acme, _ = two

    assert tenant_of(words("--tenant", str(acme)), shell.settings) == acme
    stranger = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(IssuerUnavailable):
        tenant_of(words("--tenant", stranger), shell.settings)


def test_without_an_issuer_the_only_tenant_is_still_the_one_meant(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()

    assert tenant_of(words(), shell.settings) == tenant


def test_a_projection_that_was_never_made_is_nothing_yet(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.init()

    with pytest.raises(NothingYet) as caught, projection(words(), shell.settings, "index"):
        pass

    assert caught.value.hint


def test_a_projection_is_opened_for_reading_alone(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "100 % #odd?")
    path = shell.files.projection(shell.init(), "index")
    sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()

    opened = projection(words(), shell.settings, "index")
    with pytest.raises(LedgerUnavailable, match="readonly"), opened as db:
        db.execute("INSERT INTO t VALUES (1)")


@pytest.mark.parametrize(
    ("data", "error"), [(b"no database at all" * 99, LedgerCorrupt), (b"", LedgerUnavailable)]
)
def test_a_projection_that_cannot_be_read_is_an_error_of_ours(
    tmp_path: Path, data: bytes, error: type[Exception]
) -> None:
    shell = Shell(tmp_path)
    shell.files.projection(shell.init(), "index").write_bytes(data)

    with pytest.raises(error), projection(words(), shell.settings, "index") as db:
        db.execute("SELECT * FROM findings").fetchall()


def test_a_closed_pipe_is_not_the_projections_fault(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.files.projection(shell.init(), "index").touch()

    with pytest.raises(BrokenPipeError), projection(words(), shell.settings, "index"):
        raise BrokenPipeError


def test_a_configuration_that_was_named_has_to_exist(tmp_path: Path) -> None:
    shell = Shell(tmp_path)

    assert settings_of(argparse.Namespace(config=shell.config)).paths.root == shell.state
    with pytest.raises(Exception, match="no such file"):
        settings_of(argparse.Namespace(config=tmp_path / "other.toml"))


@pytest.mark.parametrize("text", ["0", "11", "-1", "1.5", "x", "", "\u0663"])
def test_a_number_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="from 1 to 10"):
        count(1, 10)(text)


def test_numbers_within_bounds_are_read() -> None:
    assert [count(1, 10)(text) for text in ("1", "10", "007")] == [1, 10, 7]


@pytest.mark.parametrize("text", ["", "x", "01234567-89AB-8DEF-8123-456789ABCDEF", "../x"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no id"):
        identifier(text)


def test_rows_go_to_standard_output_and_talk_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows: list[dict[str, object]] = [{"a": 1, "b": "x\x1b[2J"}, {"a": 2}]

    as_json = print_rows(rows, ("a",), as_json=True)
    as_table = print_rows(rows, ("a", "b"), as_json=False)
    say("done")

    out, err = capsys.readouterr()
    assert (as_json, as_table) == (2, 2)
    assert out.splitlines()[:3] == ['{"a": 1, "b": "x\\u001b[2J"}', '{"a": 2}', "A  B"]
    assert "\x1b" not in out
    assert err == "done\n"
