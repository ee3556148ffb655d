import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.privileges import CAPABILITIES
from agent.sense.inspectline import SOCKET
from agent.sense.profiles import PROFILES

PACKAGING = Path(__file__).parents[2] / "packaging"
DROP_INS = PACKAGING / "systemd/vedette-sense.service.d"
SENSE = PACKAGING / "systemd/vedette-sense.service"
UNITS = sorted((PACKAGING / "systemd").glob("*.service"))
SOCKETS = sorted(unit.name for unit in (PACKAGING / "systemd").glob("*.socket"))
# Aims of exposure, 0 to 10, lower is better; what peers ship by default is 9.0 to 9.6.
EXPOSURE_MAX = {
    "vedette-sense.service": 2.9,
    "vedette-ship.service": 1.6,
    "vedette-collector.service": 1.6,
    "vedette-inspect@.service": 0.8,
    "vedette-dns.service": 1.5,
}


def a_root(path: Path) -> Path:
    """A staged root: the units, and programs where they expect them."""
    root = path / "root"
    for unit in UNITS:
        target = root / "etc/systemd/system" / unit.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(unit, target)
        program = re.search(r"^ExecStart=(\S+)", unit.read_text(), re.MULTILINE)
        assert program is not None
        binary = root / program[1].lstrip("/")
        binary.parent.mkdir(parents=True, exist_ok=True)
        binary.write_text("#!/bin/sh\n")
        binary.chmod(0o755)
    for name in SOCKETS:
        shutil.copyfile(PACKAGING / "systemd" / name, root / "etc/systemd/system" / name)
    for name in ("multi-user.target", "network-online.target", "local-fs.target", "sysinit.target",
                 "basic.target", "shutdown.target", "systemd-tmpfiles-setup.service", "-.mount",
                 "tmp.mount", "umount.target", "network.target"):  # fmt: skip
        source = Path("/lib/systemd/system") / name
        if source.exists():
            target = root / "lib/systemd/system" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return root


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60
    )


def test_every_unit_is_verified_clean_against_a_staged_root(tmp_path: Path) -> None:
    root = a_root(tmp_path)

    done = analyze("verify", f"--root={root}", "--man=no", *[unit.name for unit in UNITS], *SOCKETS)

    ours = [line for line in done.stderr.splitlines() if "vedette" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_no_unit_is_more_exposed_than_its_aim(unit: Path) -> None:
    done = analyze("security", "--offline=yes", "--no-pager", str(unit))

    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)

    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MAX[unit.name]


@pytest.mark.parametrize("profile", ["minimal", "full"])
def test_the_unit_with_the_drop_in_of_a_profile_is_verified_clean(
    tmp_path: Path, profile: str
) -> None:
    root = a_root(tmp_path)
    folder = root / "etc/systemd/system/vedette-sense.service.d"
    folder.mkdir()
    shutil.copyfile(DROP_INS / f"{profile}.conf", folder / "profile.conf")

    done = analyze("verify", f"--root={root}", "--man=no", "vedette-sense.service")

    assert [line for line in done.stderr.splitlines() if "vedette" in line] == []
    assert done.returncode == 0, done.stderr


def granted(*files: Path) -> set[str]:
    """The ambient set that unit and drop-ins leave, which the bounding set has to equal."""
    sets: dict[str, set[str]] = {"AmbientCapabilities": set(), "CapabilityBoundingSet": set()}
    for line in (line for file in files for line in file.read_text().splitlines()):
        name, _, value = line.partition("=")
        if name in sets:
            sets[name] = sets[name] | set(value.split()) if value else set()
    assert sets["AmbientCapabilities"] == sets["CapabilityBoundingSet"]
    return {name.removeprefix("CAP_").lower() for name in sets["AmbientCapabilities"]}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_unit_grants_what_its_profile_needs_and_says_which_it_is(profile: str) -> None:
    drop_in = DROP_INS / f"{profile}.conf"
    files = [SENSE, drop_in] if drop_in.exists() else [SENSE]

    assert granted(*files) == set(PROFILES[profile].needs)
    assert granted(*files) <= set(CAPABILITIES)
    said = "".join(file.read_text() for file in files[1:])
    assert f"VEDETTE__SENSE__PROFILE={profile}\n" in said or profile == "standard"


def test_what_the_daemon_gives_up_and_watches_with_is_not_filtered() -> None:
    text = SENSE.read_text()
    allowed = re.findall(r"^SystemCallFilter=([^~@].*)$", text, re.MULTILINE)

    assert {"capset", "fanotify_init", "fanotify_mark", "open_by_handle_at"} <= set(
        " ".join(allowed).split()
    )
    # Later words win: they have to stand behind what takes their group away.
    assert text.index("~@privileged") < text.index("capset fanotify")


def test_the_privileged_half_has_no_way_to_the_network() -> None:
    text = (PACKAGING / "systemd/vedette-sense.service").read_text()

    assert "RestrictAddressFamilies=AF_UNIX AF_NETLINK\n" in text
    assert "IPAddressDeny=any" in text


def test_the_networked_half_has_no_capability_and_no_sight_of_the_other() -> None:
    text = (PACKAGING / "systemd/vedette-ship.service").read_text()

    assert "CapabilityBoundingSet=\n" in text
    assert "InaccessiblePaths=/var/lib/vedette/sense" in text


def test_a_worker_has_nothing_but_its_connection_and_only_sense_has_one() -> None:
    text = (PACKAGING / "systemd/vedette-inspect@.service").read_text()
    socket = (PACKAGING / "systemd/vedette-inspect.socket").read_text()

    for line in ("CapabilityBoundingSet=", "PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX",
                 "InaccessiblePaths=/var/lib/vedette", "User=vedette-inspect"):  # fmt: skip
        assert f"{line}\n" in text
    assert f"ListenSequentialPacket={SOCKET}\n" in socket
    assert "SocketUser=vedette-sense\n" in socket
    assert "SocketMode=0600\n" in socket


def test_the_unit_of_packets_has_one_capability_and_no_sight_of_the_others() -> None:
    text = (PACKAGING / "systemd/vedette-dns.service").read_text()

    assert granted(PACKAGING / "systemd/vedette-dns.service") == {"net_raw"}
    assert "RestrictAddressFamilies=AF_PACKET AF_UNIX\n" in text
    assert "IPAddressDeny=any" in text
    assert "InaccessiblePaths=/var/lib/vedette\n" in text
    assert "PartOf=vedette-sense.service" in text
    assert "Wants=vedette-dns.service" in (DROP_INS / "full.conf").read_text()


def test_a_mistake_of_the_operator_is_not_restarted_for_ever() -> None:
    for unit in UNITS:
        assert re.search(r"RestartPreventExitStatus=2 4\b", unit.read_text())


def test_users_and_directories_are_those_of_the_design(tmp_path: Path) -> None:
    if shutil.which("systemd-sysusers") is None or os.geteuid() != 0:
        pytest.skip("needs systemd-sysusers and root")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)

    for name in ("vedette-agent", "vedette-collector"):
        for tool, kind in (("systemd-sysusers", "sysusers"), ("systemd-tmpfiles", "tmpfiles")):
            words = ["--create"] if tool == "systemd-tmpfiles" else []
            path = str(PACKAGING / kind / f"{name}.conf")
            subprocess.run([tool, f"--root={root}", *words, path], check=True, timeout=60)

    state = root / "var/lib/vedette"
    modes = {path.name: path.stat().st_mode & 0o777 for path in state.iterdir()}
    assert modes == {"sense": 0o700, "outbox": 0o750, "ship": 0o700}
    assert (state / "sense").stat().st_uid != (state / "ship").stat().st_uid
    assert (state / "outbox").stat().st_gid == (state / "ship").stat().st_gid
