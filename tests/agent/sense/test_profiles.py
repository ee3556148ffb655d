from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from agent.privileges import CAPABILITIES
from agent.sense.profiles import (
    PROFILES,
    PURPOSES,
    REACH,
    Reach,
    how_to_grant,
    missing,
    reach_of,
    runs,
    stated,
)
from agent.sense.sensors.table import SENSORS
from agent.sense.settings import SenseSettings, SensorSettings
from agent.sense.wiring import POSTURE
from proto.model import HealthState

SETS = st.sets(st.sampled_from(sorted(CAPABILITIES)))


def test_each_profile_holds_all_of_the_one_below_it() -> None:
    minimal, standard, full = PROFILES.values()

    assert minimal.needs == ()
    assert set(standard.keeps) == {"dac_read_search", "sys_ptrace", "audit_read"}
    assert set(standard.start_only) == {"net_admin"}
    assert set(full.keeps) - set(standard.keeps) == {"sys_admin"}
    assert set(full.start_only) == {"net_admin", "audit_control"}
    assert SenseSettings().profile == "standard"


def test_every_sensor_has_its_reach_told_for_each_profile() -> None:
    assert {*SensorSettings().enabled} <= {*SENSORS, POSTURE}
    assert {*SENSORS, POSTURE} <= set(REACH)
    assert structs.fields(Reach)[0].name == "minimal"
    assert [field.name for field in structs.fields(Reach)] == list(PROFILES)
    assert all(reach.full for reach in REACH.values())


def test_what_a_profile_leaves_out_does_not_run() -> None:
    assert not runs("standard", "dns")
    assert runs("full", "dns")
    assert all(runs(name, "processes") for name in PROFILES)
    assert runs("minimal", "a sensor of tomorrow")


@given(SETS)
def test_what_is_missing_is_said_with_its_purpose_and_what_is_beyond_is_named(
    held: set[str],
) -> None:
    for profile in PROFILES.values():
        said = stated(profile, held, 7)
        lacks = missing(profile, held)

        assert (said.subject, said.rung, said.at) == ("profile", profile.name, 7)
        assert (said.state is HealthState.DEGRADED) == bool(lacks)
        assert all(PURPOSES[name] in said.reason for name in lacks)
        assert all(name in said.reason for name in held - set(profile.needs))
        assert (said.reason == "") == (held == set(profile.needs))


def test_the_reach_of_a_sensor_is_told_in_full_for_each_profile() -> None:
    assert reach_of("full", "logs") == reach_of("standard", "logs") == REACH["logs"].standard
    assert reach_of("minimal", "dns") == ""
    assert reach_of("full", "a sensor of tomorrow") == ""
    assert "as in standard" not in {reach_of("standard", name) for name in REACH}
    told = {reach_of(name, "files") for name in PROFILES}
    assert len(told) == len(PROFILES)


def test_what_to_do_for_a_capability_is_one_command() -> None:
    assert how_to_grant(()) == ""
    assert "full.conf" in how_to_grant(["sys_admin"])
    assert "minimal drop-in" in how_to_grant(["sys_ptrace"])
    assert "full.conf" in how_to_grant(["net_raw"])
