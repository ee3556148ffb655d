"""Users and groups are those of the host's own files."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.tables import identities
from tests.agent.sense.tables.views import looking_at, shown, write

HOST: dict[str, str | bytes] = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n+::::::\nx:y\nsvc:x:9:9::/srv:\nn:x:-1:0:::\n",
    "etc/group": "root:x:0:\nsudo:x:27:alice,bob\nbad:x:y:\n",
}


def test_users_are_rows(tmp_path: Path) -> None:
    root, service = shown(identities.USERS, looking_at(write(tmp_path, HOST)))

    assert (root["uid"], root["name"], root["shell"]) == (0, "root", "/bin/bash")
    assert (service["comment"], service["shell"]) == (None, None)


def test_groups_are_rows_with_their_members(tmp_path: Path) -> None:
    root, sudo = shown(identities.GROUPS, looking_at(write(tmp_path, HOST)))

    assert (root["members"], sudo["gid"], sudo["members"]) == ([], 27, ["alice", "bob"])


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    looking = looking_at(tmp_path)

    assert shown(identities.USERS, looking) == shown(identities.GROUPS, looking) == []
    assert len(looking.problems) == 2


@given(st.binary(max_size=300))
def test_any_bytes_give_users_and_groups(data: bytes) -> None:
    for row in identities.parse_users(data):
        assert set(row) <= set(identities.USERS.columns)
    for row in identities.parse_groups(data):
        assert set(row) <= set(identities.GROUPS.columns)
