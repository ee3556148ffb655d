"""A destination's settings: no secret inside, no way around TLS, and errors that say which key."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.forward.settings import (
    AnyDestination,
    HecDestination,
    SyslogDestination,
    check_distinct,
    split_address,
)
from collector.forward.states import State
from runtime.settings import BadSettings, load, show
from tests.collector.builders import TENANT
from tests.collector.forward.builders import a_file, a_hec, a_syslog

HEC = 'type = "splunk_hec"\nurl = "https://splunk.example:8088"\ntoken_file = "/etc/token"\n'


class Whole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    forward: tuple[AnyDestination, ...] = ()


def loaded(path: Path, *tables: str) -> Whole:
    file = path / "collector.toml"
    file.write_text("\n".join(f"[[forward]]\n{table}" for table in tables))
    return load(Whole, file, {})


def test_destinations_of_several_kinds_are_read_and_shown_as_they_are(tmp_path: Path) -> None:
    whole = loaded(
        tmp_path,
        f'name = "splunk"\n{HEC}filter = {{severity_min = "high"}}',
        'name = "qradar"\ntype = "syslog"\naddress = "[::1]:6514"',
        'name = "file"\ntype = "jsonl"\npath = "/var/log/vedette.jsonl"',
    )
    (tmp_path / "again.toml").write_text(show(whole))

    assert [type(one).__name__ for one in whole.forward] == [
        "HecDestination",
        "SyslogDestination",
        "JsonlDestination",
    ]
    assert load(Whole, tmp_path / "again.toml", {}) == whole


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (f'name = "Splunk"\n{HEC}', "name"),
        (f'name = "splunk"\n{HEC}tokn = "x"', "tokn"),
        (f'name = "splunk"\n{HEC}batch = {{events_max = 0}}', "events_max"),
        (f'name = "splunk"\n{HEC}filter = {{severity_min = "worst"}}', "severity_min"),
        (f'name = "splunk"\n{HEC}tenants = ["acme"]', "tenants"),
        ('name = "x"\ntype = "carrier_pigeon"', "type"),
        ('name = "x"\ntype = "syslog"\naddress = "siem.example"', "host:port"),
        ('name = "x"\ntype = "syslog"\naddress = "s:6514"\ncert_file = "c"', "key_file"),
        ('name = "x"\ntype = "syslog"\naddress = "s:1"\nstructured_data_id = "a]b"', "structured"),
        ('name = "x"\ntype = "splunk_hec"\nurl = "http://splunk.example"\ntoken_file = "t"', "url"),
        ('name = "x"\ntype = "splunk_hec"\nurl = "https://a:b@c"\ntoken_file = "t"', "secret"),
        ('name = "x"\ntype = "splunk_hec"\nurl = "splunk.example"\ntoken_file = "t"', "url"),
    ],
)
def test_a_bad_value_is_refused_with_its_key(tmp_path: Path, table: str, key: str) -> None:
    with pytest.raises(BadSettings) as raised:
        loaded(tmp_path, table)

    assert key in str(raised.value)
    assert "forward" in raised.value.key
    assert raised.value.exit_code == 4


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.9.10"])
def test_plain_http_reaches_this_machine_alone(tmp_path: Path, host: str) -> None:
    assert a_hec(tmp_path, url=f"http://{host}:8088").url
    with pytest.raises(ValueError, match="loopback"):
        a_hec(tmp_path, url="http://10.0.0.1:8088")


def test_two_destinations_of_one_name_are_refused(tmp_path: Path) -> None:
    check_distinct([a_hec(tmp_path), a_file(tmp_path / "x")], "collector.toml")

    with pytest.raises(BadSettings, match="second") as raised:
        check_distinct([a_hec(tmp_path), a_hec(tmp_path)], "collector.toml")
    assert raised.value.key == "forward.[1].name"


def test_a_destination_serves_all_tenants_or_those_it_names(tmp_path: Path) -> None:
    other = "22222222-2222-4222-8222-222222222222"

    assert a_hec(tmp_path).serves(TENANT)
    assert a_hec(tmp_path, tenants=(str(TENANT),)).serves(TENANT)
    assert not a_hec(tmp_path, tenants=(other,)).serves(TENANT)


def test_each_kind_says_how_far_an_event_can_come(tmp_path: Path) -> None:
    tops = [a_hec(tmp_path), a_hec(tmp_path, acknowledge=True), a_syslog(), a_file(tmp_path)]

    assert [one.top for one in tops] == [
        State.ACCEPTED,
        State.CONFIRMED,
        State.UNCONFIRMABLE,
        State.CONFIRMED,
    ]


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("siem.example:6514", ("siem.example", 6514)),
        ("[2001:db8::1]:6514", ("2001:db8::1", 6514)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
    ],
)
def test_an_address_is_host_and_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        host, port = split_address(text)
    except ValueError:
        return

    assert host
    assert 0 < port < 65536


def test_no_field_could_hold_a_secret() -> None:
    names = {
        field.name
        for kind in (HecDestination, SyslogDestination)
        for field in msgspec.structs.fields(kind)
    }

    assert not {name for name in names if "token" in name or "key" in name} - {
        "token_file",
        "key_file",
    }
