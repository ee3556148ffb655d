"""Every rule of sudoers and of what it includes is told as it stands."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.persist.sudoers import FILES_MAX, logical_lines, read
from proto.model import User
from tests.agent.sense.sensors.persist.looking import a_content, a_look, found_by, put, said


def test_rules_settings_and_included_files_are_told(tmp_path: Path) -> None:
    put(
        tmp_path,
        "/etc/sudoers",
        "# comment\nDefaults\tenv_reset\nCmnd_Alias X = /bin/a, \\\n  /bin/b # end\n"
        "root ALL=(ALL:ALL) ALL\n%sudo   ALL=(ALL) ALL\n#1000 ALL = ALL\n"
        "@includedir /etc/sudoers.d\n#include local\n",
    )
    put(tmp_path, "/etc/sudoers.d/one", 'alice ALL=(ALL) NOPASSWD: ALL\n"a b" ALL=X\n')
    put(tmp_path, "/etc/sudoers.d/two~", "mallory ALL=ALL\n")
    put(tmp_path, "/etc/sudoers.d/three.dpkg", "mallory ALL=ALL\n")
    put(tmp_path, "/etc/local", "carol ALL=/bin/c\n")

    items = found_by(read, tmp_path)

    assert said(items) == [
        ("sudoers_setting", "Defaults", "Defaults env_reset"),
        ("sudoers_setting", "Cmnd_Alias", "Cmnd_Alias X = /bin/a, /bin/b"),
        ("sudoers_rule", "root", "root ALL=(ALL:ALL) ALL"),
        ("sudoers_rule", "%sudo", "%sudo ALL=(ALL) ALL"),
        ("sudoers_rule", "#1000", "#1000 ALL = ALL"),
        ("sudoers_rule", "alice", "alice ALL=(ALL) NOPASSWD: ALL"),
        ("sudoers_rule", "a b", '"a b" ALL=X'),
        ("sudoers_rule", "carol", "carol ALL=/bin/c"),
    ]
    assert items[5].user == User(name="alice")
    assert items[5].path == "/etc/sudoers.d/one"


def test_files_that_include_each_other_are_read_once(tmp_path: Path) -> None:
    put(tmp_path, "/etc/sudoers", "@include /etc/other\na ALL=ALL\n")
    put(tmp_path, "/etc/other", "@include /etc/sudoers\nb ALL=ALL\n")

    assert [item.name for item in found_by(read, tmp_path)] == ["a", "b"]


def test_more_included_files_than_are_read_are_said(tmp_path: Path) -> None:
    put(tmp_path, "/etc/sudoers", "@includedir d\n")
    for number in range(FILES_MAX + 3):
        put(tmp_path, f"/etc/d/{number:04}", f"u{number} ALL=ALL\n")
    look = a_look(tmp_path)

    assert len(found_by(read, tmp_path, look)) == FILES_MAX - 1
    assert look.unread


def test_a_path_named_for_the_host_and_an_odd_file_are_said(tmp_path: Path) -> None:
    put(tmp_path, "/etc/sudoers", "@include /etc/sudoers.%h\n@include /etc/fifo\n")
    os.mkfifo(tmp_path / "etc/fifo")
    look = a_look(tmp_path)

    assert found_by(read, tmp_path, look) == []
    assert set(look.unread) == {"/etc/sudoers.%h", "/etc/fifo"}


@given(data=st.binary(max_size=500) | st.text(alphabet='a"#\\ \n@=,', max_size=80).map(str.encode))
def test_any_bytes_are_lines_or_none(data: bytes) -> None:
    for text in logical_lines(a_content(data)):
        assert text
        assert b"\n" not in text
