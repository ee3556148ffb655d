import msgspec
import pytest

from agent.settings import (
    LogSettings,
    MetricsSettings,
    PathSettings,
    PrivilegeSettings,
    SharedSettings,
    UplinkSettings,
)


def test_every_path_of_the_halves_lies_below_one_of_the_two_roots() -> None:
    paths = PathSettings(state="/a", run="/b")

    assert (paths.sense, paths.outbox, paths.ship) == ("/a/sense", "/a/outbox", "/a/ship")
    assert paths.door == "/b/door.sock"


SECTIONS = [(field.name, field.type) for field in msgspec.structs.fields(SharedSettings)]


@pytest.mark.parametrize(("name", "section"), SECTIONS)
def test_every_section_has_defaults_and_refuses_what_it_does_not_know(
    name: str, section: type[msgspec.Struct]
) -> None:
    assert getattr(SharedSettings(), name) == section()
    with pytest.raises(msgspec.ValidationError, match="unknown field `surprise`"):
        msgspec.convert({"surprise": 1}, section)


@pytest.mark.parametrize(("_name", "section"), SECTIONS)
def test_a_number_has_bounds_and_its_default_lies_within(
    _name: str, section: type[msgspec.Struct]
) -> None:
    defaults = msgspec.to_builtins(section())

    assert msgspec.convert(defaults, section) == section()
    for field in msgspec.structs.fields(section):
        if isinstance(field.default, int | float):
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert({field.name: -1}, section)
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert({field.name: 10**9}, section)


def test_the_halves_are_two_users_by_default() -> None:
    privileges = PrivilegeSettings()

    assert privileges.sense_user != privileges.ship_user


def test_the_uplink_waits_longer_than_it_connects_and_never_forever() -> None:
    uplink = UplinkSettings()

    assert uplink.retry_wait_s_first < uplink.retry_wait_s_max
    assert uplink.connect_timeout_s < uplink.receipt_timeout_s


def test_the_daemons_write_json_and_serve_metrics_where_the_manual_says() -> None:
    assert LogSettings() == LogSettings(level="info", style="json")
    assert MetricsSettings().port == 6613
