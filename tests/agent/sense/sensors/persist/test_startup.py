"""Whatever starts unasked is told, for the system and for each of its users."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.persist.startup import DIRECTORIES, FILES, OF_HOMES, preloads, read
from proto.model import User
from tests.agent.sense.sensors.persist.looking import a_content, a_look, found_by, put, said


def test_each_library_that_is_preloaded_is_told() -> None:
    found = preloads(a_content(b"/lib/a.so /tmp/b.so:c.so\n# /no.so\n\t/d/ # x\n"))

    assert [one.item.value for one in found] == ["/lib/a.so", "/tmp/b.so", "c.so", "/d/"]


def test_the_loaders_directories_are_told_with_those_of_included_files(tmp_path: Path) -> None:
    put(
        tmp_path,
        "/etc/ld.so.conf",
        "include /etc/ld.so.conf.d/*.conf\ninclude ld.so.conf\n/opt/l\n",
    )
    put(tmp_path, "/etc/ld.so.conf.d/a.conf", "# c\n/usr/local/lib\nhwcap 1 x\n")
    put(tmp_path, "/etc/ld.so.conf.d/b.txt", "/no\n")

    assert said(found_by(read, tmp_path)) == [
        ("ld_path", "ld.so.conf", "/opt/l"),
        ("ld_path", "a.conf", "/usr/local/lib"),
    ]


def test_every_file_of_the_table_is_told(tmp_path: Path) -> None:
    for _, path in FILES:
        put(tmp_path, path, "x")
    for _, directory in DIRECTORIES:
        put(tmp_path, f"{directory}/one", "x")

    items = found_by(read, tmp_path)

    assert [(item.mechanism, item.path) for item in items] == [
        *FILES,
        *((mechanism, f"{directory}/one") for mechanism, directory in DIRECTORIES),
    ]
    assert all(isinstance(item.sha256, bytes) for item in items)


def test_a_users_start_files_are_his(tmp_path: Path) -> None:
    put(tmp_path, "/etc/passwd", "alice:x:1000:1000::/home/alice:/b\n")
    for name in (*OF_HOMES, ".config/autostart/x.desktop"):
        put(tmp_path, f"/home/alice/{name}", "x")

    items = found_by(read, tmp_path)

    assert [item.name for item in items] == [*OF_HOMES, ".config/autostart/x.desktop"]
    assert {item.user for item in items} == {User(uid=1000, name="alice")}
    assert items[-1].mechanism == "desktop_start"


def test_a_start_file_that_leads_to_a_remote_place_or_a_fifo_is_not_opened(tmp_path: Path) -> None:
    put(tmp_path, "/etc/passwd", "alice:x:1000:1000::/home/alice:/b\n")
    home = tmp_path / "home/alice"
    home.mkdir(parents=True)
    put(tmp_path, "/net/x", "x")
    (home / ".bashrc").symlink_to("/net/x")
    os.mkfifo(home / ".profile")
    look = a_look(tmp_path, remote=("/net",))

    assert found_by(read, tmp_path, look) == []
    assert set(look.unread) == {"/home/alice/.bashrc", "/home/alice/.profile"}


@given(data=st.binary(max_size=300))
def test_any_bytes_are_preloads_or_none(data: bytes) -> None:
    assert all(one.item.value for one in preloads(a_content(data)))


def test_nothing_hides_behind_empty_lines() -> None:
    found = preloads(a_content(b"\n" * 100_000 + b"/evil.so"))

    assert [one.item.value for one in found] == ["/evil.so"]
