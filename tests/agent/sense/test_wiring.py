import time
from pathlib import Path

import pytest
from msgspec import structs

from agent.errors import NotEnrolled
from agent.layout import Owners
from agent.sense import wiring
from agent.sense.sensors.filetrees import FileSettings, Tree
from agent.sense.sensors.table import SENSORS
from agent.sense.settings import SenseSettings, SensorSettings
from agent.sense.wiring import Site, build, build_sensors, read_trust
from certs.errors import KeyUnusable, TrustRefused
from certs.identity import AgentId, PeerIdentity, TenantId
from proto import codec
from proto.model import Finding, FindingKind, Split
from runtime.clock import SystemClock
from tests.agent.machine import ME, Machine
from tests.agent.sense.builders import TENANT
from tests.agent.sense.sensors.dpkghost import DpkgHost
from tests.fakes.clock import FakeClock

NOBODY = PeerIdentity(TenantId(bytes(16)), AgentId(bytes(16)))
FEW = SenseSettings(sensors=SensorSettings(enabled=("packages",)))


def a_site(machine: Machine, owned: Owners = ME) -> Site:
    return Site(machine.paths, owned, SystemClock())


def enabling(*names: str) -> SenseSettings:
    return SenseSettings(sensors=SensorSettings(enabled=names))


def test_the_sensors_that_are_enabled_are_built_and_no_others(tmp_path: Path) -> None:
    site = a_site(Machine(tmp_path).with_golden_host())

    assert list(build_sensors(enabling("posture", "files"), site, NOBODY)) == ["posture", "files"]
    assert build_sensors(enabling(), site, NOBODY) == {}
    full = SenseSettings(profile="full")
    assert set(build_sensors(full, site, NOBODY)) == {*SENSORS, wiring.POSTURE}


def test_a_host_that_is_not_enrolled_has_nothing_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotEnrolled):
        build(SenseSettings(), a_site(Machine(tmp_path)))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("identity.json", NotEnrolled),
        ("signing.pem", KeyUnusable),
        ("trust.json", TrustRefused),
    ],
)
def test_each_file_that_is_missing_or_damaged_is_its_own_error(
    tmp_path: Path, name: str, error: type[Exception]
) -> None:
    machine = Machine(tmp_path).with_golden_host().enrolled()
    (machine.sense / name).write_bytes(b"{}")

    with pytest.raises(error):
        build(FEW, a_site(machine))

    (machine.sense / name).unlink()
    with pytest.raises(error):
        build(FEW, a_site(machine))


def test_a_signing_key_that_ship_could_read_is_not_used(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host().enrolled()
    (machine.sense / "signing.pem").chmod(0o640)

    with pytest.raises(KeyUnusable, match="open to others"):
        build(FEW, a_site(machine))


def test_trust_is_read_from_the_directory_of_sense_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    (machine.ship / "trust.json").unlink()

    assert read_trust(machine.sense).tenant
    with pytest.raises(TrustRefused, match=r"no trust\.json here"):
        read_trust(machine.ship)


@pytest.mark.parametrize(
    ("owned", "split"),
    [
        pytest.param(ME, Split.NONE, id="none"),
        pytest.param(structs.replace(ME, ship_uid=61002), Split.USERS, id="users"),
    ],
)
def test_what_it_seals_says_who_it_is_and_how_it_runs(
    tmp_path: Path, owned: Owners, split: Split
) -> None:
    machine = Machine(tmp_path).with_golden_host().enrolled()
    sense = build(FEW, a_site(machine, owned))

    sense.start()
    is_open = Path(machine.paths.door).is_socket()
    sense.stop()

    headers = [codec.decode_header(batch.header) for batch in machine.sealed()]
    assert is_open
    assert headers
    for header in headers:
        assert (header.tenant, header.agent) == (TENANT, machine.host.agent)
        assert header.key_id == machine.host.key.public.key_id
        assert header.split is split


def test_a_modified_packaged_program_becomes_a_sealed_finding(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host().enrolled()
    host = DpkgHost(Path(machine.paths.host_root))
    host.install("tool", {"opt/tool": b"good"})
    host.write("opt/tool", b"evil")
    files = FileSettings(trees=(Tree("/opt"),))
    settings = SenseSettings(sensors=SensorSettings(enabled=("files",), files=files))
    sense = build(settings, a_site(machine))

    sense.start()
    began = time.monotonic()
    while time.monotonic() - began < 1:
        sense.step()
    sense.stop()

    (finding,) = [found for found in machine.records() if isinstance(found, Finding)]
    assert finding.kind is FindingKind.INTEGRITY
    assert [(a.name, a.value) for a in finding.arguments] == [("package", "tool")]


def test_time_comes_from_the_site(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host().enrolled()
    clock = FakeClock()
    sense = build(FEW, Site(machine.paths, ME, clock))

    sense.start()
    sense.stop()

    walls = {codec.decode_header(batch.header).wall for batch in machine.sealed()}
    assert walls == {clock.wall_ns()}
