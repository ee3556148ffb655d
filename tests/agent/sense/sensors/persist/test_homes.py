"""Each home is looked at once, where it is a directory of this host."""

from pathlib import Path

from agent.sense.sensors.persist.homes import HOMES_MAX, homes
from tests.agent.sense.sensors.persist.looking import a_look, put


def test_each_home_that_is_there_counts_once_for_its_first_account(tmp_path: Path) -> None:
    put(
        tmp_path,
        "/etc/passwd",
        "root:x:0:0::/root:/b\na:x:1:1::/home/a/:/b\nb:x:2:2::/home/a:/b\n"
        "c:x:3:3::/nonexistent:/b\nd:x:4:4::relative:/b\ne:x:5:5::/etc/passwd:/b\nf:x:6:6::/:/b\n",
    )
    (tmp_path / "root").mkdir()
    (tmp_path / "home/a").mkdir(parents=True)

    found = [(home.path, home.account.name) for home in homes(a_look(tmp_path))]

    assert found == [("/root", "root"), ("/home/a", "a"), ("", "f")]


def test_a_home_on_a_remote_file_system_is_not_touched(tmp_path: Path) -> None:
    put(tmp_path, "/etc/passwd", "a:x:1:1::/net/a:/b\nb:x:2:2::/home/b:/b\n")
    (tmp_path / "net/a").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/b").symlink_to("/net/a")
    look = a_look(tmp_path, remote=("/net",))

    assert list(homes(look)) == []
    assert set(look.unread.values()) == {"lies on a remote file system"}


def test_more_homes_than_are_looked_at_are_said(tmp_path: Path) -> None:
    lines = (f"u{n}:x:{n}:{n}::/h/{n}:/b\n" for n in range(HOMES_MAX + 1))
    put(tmp_path, "/etc/passwd", "".join(lines))
    look = a_look(tmp_path)

    assert list(homes(look)) == []
    assert "homes" in look.unread
