"""How names become addresses is told line by line."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.tables import resolver
from tests.agent.sense.tables.views import looking_at, shown, write

HOST: dict[str, str | bytes] = {
    "etc/resolv.conf": "# made by x\nnameserver 192.0.2.53\nSearch a.example b.example ; no\n",
    "etc/hosts": "127.0.0.1 localhost\n192.0.2.9\tupdate.example  # odd\n::1\n",
    "etc/nsswitch.conf": "passwd: files systemd\nhosts:files dns\nservices: db\n",
}


def test_servers_hosts_and_services_are_rows(tmp_path: Path) -> None:
    rows = shown(resolver.TABLE, looking_at(write(tmp_path, HOST)))

    assert [(row["key"], row["values"]) for row in rows] == [
        ("nameserver", ["192.0.2.53"]),
        ("search", ["a.example", "b.example"]),
        ("127.0.0.1", ["localhost"]),
        ("192.0.2.9", ["update.example"]),
        ("passwd", ["files", "systemd"]),
        ("hosts", ["files", "dns"]),
    ]


def test_what_is_missing_is_said_and_the_rest_shown(tmp_path: Path) -> None:
    looking = looking_at(write(tmp_path, {"etc/hosts": "127.0.0.1 localhost\n"}))

    assert len(shown(resolver.TABLE, looking)) == 1
    assert len(looking.problems) == 2


@given(st.binary(max_size=300))
def test_any_bytes_give_settings(data: bytes) -> None:
    for parse in (resolver.parse_resolv, resolver.parse_hosts, resolver.parse_nss):
        for key, values in parse(data):
            assert isinstance(key, str)
            assert all(isinstance(value, str) for value in values)
