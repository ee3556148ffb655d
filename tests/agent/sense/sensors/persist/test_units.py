"""Units that start something by themselves are told: what they start, as whom, from where."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.persist.units import parse_unit, read, triggered
from proto.model import User
from tests.agent.sense.sensors.persist.looking import a_content, a_look, found_by, put

SYSTEM = "/etc/systemd/system"
VENDOR = "/usr/lib/systemd/system"


def names(root: Path) -> list[str]:
    return sorted(item.name for item in found_by(read, root))


def test_a_local_unit_is_told_with_what_it_starts_and_as_whom(tmp_path: Path) -> None:
    put(
        tmp_path,
        f"{SYSTEM}/evil.service",
        "[Unit]\nDescription=x\n[Service]\nUser=www-data\nExecStartPre=-/bin/a\n"
        "# c\nExecStart=/bin/b \\\n   --long\nRestart=always\n",
    )

    (item,) = found_by(read, tmp_path)

    assert item.value == "ExecStartPre=-/bin/a; ExecStart=/bin/b --long"
    assert item.user == User(name="www-data")
    assert (item.mechanism, item.path) == ("systemd_unit", f"{SYSTEM}/evil.service")
    assert item.caveats == ()


def test_of_a_packages_units_those_are_told_that_are_enabled_or_triggered(tmp_path: Path) -> None:
    put(tmp_path, f"{VENDOR}/on.service", "[Service]\nExecStart=/bin/on\n")
    put(tmp_path, f"{VENDOR}/off.service", "[Service]\nExecStart=/bin/off\n")
    put(tmp_path, f"{VENDOR}/tick.timer", "[Timer]\nOnCalendar=daily\n")
    put(tmp_path, f"{VENDOR}/tick.service", "[Service]\nExecStart=/bin/tick\n")
    put(tmp_path, f"{VENDOR}/getty@.service", "[Service]\nExecStart=/bin/getty\n")
    (tmp_path / "etc/systemd/system/multi-user.target.wants").mkdir(parents=True)
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    (wants / "on.service").symlink_to(f"{VENDOR}/on.service")
    (wants / "tick.timer").symlink_to(f"{VENDOR}/tick.timer")
    (wants / "getty@tty1.service").symlink_to(f"{VENDOR}/getty@.service")

    items = {item.name: item for item in found_by(read, tmp_path)}

    assert sorted(items) == ["getty@tty1.service", "on.service", "tick.service", "tick.timer"]
    assert items["tick.timer"].mechanism == "systemd_timer"
    assert items["on.service"].caveats == ("enabled",)


def test_a_unit_linked_under_another_name_is_told_and_a_masked_one_is_not(tmp_path: Path) -> None:
    put(tmp_path, f"{VENDOR}/ssh.service", "[Service]\nExecStart=/bin/sshd\n")
    put(tmp_path, "/opt/own.service", "[Service]\nExecStart=/opt/own\n")
    (tmp_path / SYSTEM.lstrip("/")).mkdir(parents=True)
    here = tmp_path / SYSTEM.lstrip("/")
    (here / "sshd.service").symlink_to(f"{VENDOR}/ssh.service")
    (here / "own.service").symlink_to("/opt/own.service")
    (here / "off.service").symlink_to("/dev/null")

    assert names(tmp_path) == ["own.service", "ssh.service"]


def test_a_drop_in_is_told_by_itself(tmp_path: Path) -> None:
    put(tmp_path, f"{SYSTEM}/ssh.service.d/x.conf", "[Service]\nExecStartPost=/tmp/x\n")
    put(tmp_path, f"{SYSTEM}/ssh.service.d/readme", "ExecStart=/no\n")

    assert names(tmp_path) == ["ssh.service.d/x.conf"]


def test_a_users_units_are_his(tmp_path: Path) -> None:
    put(tmp_path, "/etc/passwd", "alice:x:1000:1000::/home/alice:/b\n")
    put(
        tmp_path,
        "/home/alice/.config/systemd/user/x.timer",
        "[Timer]\nOnBootSec=1\nUnit=y.service\n",
    )

    (item,) = found_by(read, tmp_path)

    assert item.user == User(uid=1000, name="alice")
    assert item.value == "OnBootSec=1; Unit=y.service"


def test_a_users_unit_that_leads_to_a_remote_place_is_not_opened(tmp_path: Path) -> None:
    put(tmp_path, "/etc/passwd", "alice:x:1000:1000::/home/alice:/b\n")
    put(tmp_path, "/net/x.service", "ExecStart=/x\n")
    units = tmp_path / "home/alice/.config/systemd/user"
    units.mkdir(parents=True)
    (units / "x.service").symlink_to("/net/x.service")
    (units / "x.service.d").symlink_to("/net")
    look = a_look(tmp_path, remote=("/net",))

    assert found_by(read, tmp_path, look) == []
    assert len(look.unread) == 2


def test_lib_and_usr_lib_are_one_where_they_are(tmp_path: Path) -> None:
    put(tmp_path, f"{VENDOR}/on.service", "ExecStart=/bin/on\n")
    (tmp_path / "lib").symlink_to("usr/lib")
    put(tmp_path, f"{VENDOR}/x.target.wants/on.service", "")

    assert names(tmp_path) == ["on.service"]


def test_units_that_trigger_each_other_end(tmp_path: Path) -> None:
    put(tmp_path, f"{VENDOR}/a.timer", "Unit=b.timer\n")
    put(tmp_path, f"{VENDOR}/b.timer", "Unit=a.timer\n")
    put(tmp_path, f"{VENDOR}/x.target.wants/a.timer", "")

    assert names(tmp_path) == ["a.timer", "b.timer"]


def test_what_a_unit_triggers_is_what_it_names_or_its_namesake() -> None:
    unit = parse_unit(a_content(b"[Timer]\nUnit=x.service\n"))

    assert triggered("a.timer", unit) == "x.service"
    assert triggered("a.socket", parse_unit(a_content(b""))) == "a.service"
    assert triggered("a.service", unit) == ""


def test_odd_files_stop_nothing(tmp_path: Path) -> None:
    put(tmp_path, f"{SYSTEM}/good.service", "ExecStart=/bin/a\n")
    put(tmp_path, f"{SYSTEM}/huge.service", b"ExecStart=" + b"x" * 400_000)
    os.mkfifo(tmp_path / SYSTEM.lstrip("/") / "fifo.service")
    (tmp_path / SYSTEM.lstrip("/") / "loop.service").symlink_to("loop.service")
    look = a_look(tmp_path)

    found = found_by(read, tmp_path, look)

    assert sorted(item.name for item in found) == ["good.service", "huge.service"]
    assert set(look.unread) == {f"{SYSTEM}/fifo.service", f"{SYSTEM}/huge.service"}


@given(data=st.binary(max_size=300) | st.from_regex(rb"(ExecStart|User|Unit|#)=?.{0,9}\\?\n"))
def test_any_bytes_are_a_unit(data: bytes) -> None:
    unit = parse_unit(a_content(data))

    assert "\n" not in unit.value.replace("\\n", "")
    triggered("x.timer", unit)
