"""Every reader answers on a bare host and on this one."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.hostroot import HostRoot
from agent.sense.sensors.persist.items import Found
from agent.sense.sensors.persist.look import Look
from agent.sense.sensors.persist.places import read_places
from agent.sense.sensors.persist.readers import READERS
from runtime.clock import SystemClock
from tests.agent.sense.sensors.persist.looking import a_look, found_by, put


@pytest.mark.parametrize("name", READERS)
def test_a_bare_host_has_nothing(name: str, tmp_path: Path) -> None:
    assert found_by(READERS[name], tmp_path) == []


@pytest.mark.parametrize("name", READERS)
def test_this_host_is_read(name: str) -> None:
    host = HostRoot("/")
    look = Look(host, read_places(host).remote, SystemClock().wall_ns())

    assert all(one is None or isinstance(one, Found) for one in READERS[name](look))


PATHS = (
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/sudoers",
    "/etc/sudoers.d/a",
    "/etc/ssh/sshd_config",
    "/root/.ssh/authorized_keys",
    "/etc/crontab",
    "/etc/cron.d/a",
    "/etc/cron.daily/a",
    "/var/spool/cron/crontabs/root",
    "/var/spool/cron/atjobs/a",
    "/etc/systemd/system/a.service",
    "/etc/systemd/system/a.timer",
    "/etc/systemd/system/b.target.wants/a.service",
    "/etc/pam.d/a",
    "/usr/lib/x86_64-linux-gnu/security/pam_a.so",
    "/etc/ld.so.preload",
    "/etc/ld.so.conf",
    "/etc/profile",
    "/root/.bashrc",
    "/proc/modules",
    "/etc/modules",
    "/etc/modprobe.d/a.conf",
)
LINES = st.sampled_from(
    [
        b"root:x:0:0::/root:/bin/sh",
        b"@include /etc/sudoers",
        b"#includedir /etc",
        b"a ALL=(ALL) NOPASSWD: ALL \\",
        b"include /etc/*",
        b"AuthorizedKeysFile %h/%u /etc/%%",
        b"Include /etc/ssh/*",
        b"* * * * * root x%y",
        b"[Service]",
        b"ExecStart=/bin/a \\",
        b"Unit=a.timer",
        b"auth required pam_exec.so /x",
        b"install a b",
        b"\xff\x00\n\n",
        b"=" * 5000,
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    files=st.dictionaries(
        st.sampled_from(PATHS),
        st.lists(LINES | st.binary(max_size=40), max_size=6).map(b"\n".join)
        | st.sampled_from(["loop", "directory", "dangling"]),
        max_size=8,
    )
)
def test_any_host_is_read_to_the_end(files: dict[str, bytes | str]) -> None:
    folder = Path(tempfile.mkdtemp())
    for path, what in files.items():
        place = put(folder, path, what if isinstance(what, bytes) else b"")
        if what == "directory":
            place.unlink()
            place.mkdir()
        elif isinstance(what, str):
            place.unlink()
            place.symlink_to(place.name if what == "loop" else "/nowhere")

    for reader in READERS.values():
        look = a_look(folder)
        assert len(found_by(reader, folder, look)) < 1000
        look.mark()
    shutil.rmtree(folder)
