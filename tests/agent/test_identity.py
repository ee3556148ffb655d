import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import NotEnrolled
from agent.identity import IDENTITY_BYTES_MAX, AgentIdentity, load_identity, save_identity
from certs.errors import IdentityRefused
from certs.identity import AgentId, PeerIdentity, TenantId

TENANT = TenantId.parse("11111111-1111-4111-8111-111111111111")
AGENT = AgentId.parse("22222222-2222-8222-8222-222222222222")
FILE = "identity.json"


def an_identity(**changes: str) -> AgentIdentity:
    values = {
        "tenant": str(TENANT),
        "agent": str(AGENT),
        "domain": "vedette.example",
        "intake": "collector.example:6610",
        "enrollment": "collector.example:6611",
    }
    return AgentIdentity(**(values | changes))


def test_an_identity_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    save_identity(tmp_path, an_identity())

    found = load_identity(tmp_path)

    assert found == an_identity()
    assert found.peer == PeerIdentity(TENANT, AGENT)


def test_it_is_secret_to_nobody_and_written_by_one(tmp_path: Path) -> None:
    save_identity(tmp_path, an_identity())

    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_host_without_an_identity_is_not_enrolled(tmp_path: Path) -> None:
    with pytest.raises(NotEnrolled) as caught:
        load_identity(tmp_path)

    assert caught.value.exit_code == 6
    assert str(tmp_path) in caught.value.message
    assert "vedette-agent enroll" in caught.value.hint


@pytest.mark.parametrize("field", ["tenant", "agent", "domain", "intake", "enrollment"])
def test_an_identity_that_lacks_a_field_is_none(tmp_path: Path, field: str) -> None:
    values = msgspec.to_builtins(an_identity())
    del values[field]
    (tmp_path / FILE).write_bytes(msgspec.json.encode(values))

    with pytest.raises(NotEnrolled):
        load_identity(tmp_path)


def test_a_file_longer_than_an_identity_is_none(tmp_path: Path) -> None:
    data = msgspec.json.encode(an_identity())
    (tmp_path / FILE).write_bytes(data + b" " * (IDENTITY_BYTES_MAX - len(data)) + b" ")

    with pytest.raises(NotEnrolled):
        load_identity(tmp_path)


def test_a_text_that_is_no_id_is_refused_when_it_is_used() -> None:
    for changes in ({"tenant": "acme"}, {"agent": "web-1"}):
        with pytest.raises(IdentityRefused):
            _ = an_identity(**changes).peer


@given(st.binary(max_size=300) | st.just(b"[" * 4000))
def test_any_bytes_are_an_identity_or_not_enrolled(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    directory = tmp_path_factory.getbasetemp()
    (directory / FILE).write_bytes(data)

    with pytest.raises(NotEnrolled):
        load_identity(directory)
