"""A full disk stops nobody: what cannot be kept is not read or not taken, and comes later."""

import contextlib
import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import judge
from tests.e2e.judge import NONE
from tests.e2e.load import Load
from tests.e2e.site import Site, a_site

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(300)]

AGENT_DISK_MIB, COLLECTOR_DISK_MIB = 12, 64
# What sensors remember has its place in it too.
OUTAGE_DISK_MIB = 8
FULL_S = 5
LINES_PER_S = 200
FLOOD_LINES_PER_S, FLOOD_S = 3000, 15
CHUNK = bytes(64 * 1024)
ROLES = ("sense", "ship", "issuer", "gate", "work", "web")


class Disk:
    """A small file system."""

    def __init__(self, path: Path) -> None:
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (len(CHUNK), 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(CHUNK[:size]):
                        pass
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (self._ballast.with_name("probe")).write_bytes(b"x")
        self._ballast.with_name("probe").unlink(missing_ok=True)

    def release(self) -> None:
        """Give everything back."""
        self._ballast.unlink()


@contextlib.contextmanager
def small_disk(site: Site, path: Path, size_mib: int) -> Iterator[Disk]:
    """Mount a file system of its own; whoever runs on it is stopped before it goes."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=755", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        site.stop_all()
        subprocess.run(["umount", "-l", str(path)], check=False)


def starts(site: Site) -> dict[str, int]:
    return {role: len(site.pids(role)) for role in ROLES}


def test_an_agent_without_space_waits_and_delivers_everything_later(
    figure: Callable[[str], None],
) -> None:
    with a_site() as site, small_disk(site, site.agent_state, AGENT_DISK_MIB) as disk:
        site.start_collector()
        site.start_agent()
        site.wait("content on the agent", lambda: any(b.header.content for b in site.batches()))
        with Load(site.auth_log, site.watched, lines_per_s=LINES_PER_S) as load:
            for _ in range(2):
                time.sleep(1)
                disk.fill()
                time.sleep(FULL_S)
                disk.release()
        began = time.monotonic()
        site.wait("everything indexed", lambda: judge.all_arrived(site, load))
        drained_s = time.monotonic() - began

        assert starts(site) == dict.fromkeys(ROLES, 1)
        assert site.told("batch not stored, trying again")
        assert site.stop("agent") == 0
        site.wait("everything sealed in the ledger", site.all_taken)
        assert judge.logins(site, load) == NONE
        assert judge.files(site, load) == NONE
        judge.check_ledger(site)
        assert judge.check_starts(site) == 0
        figure(
            f"agent's disk full twice: {load.lines} logins, 0 lost, drained in {drained_s:.1f} s"
        )


def test_a_collector_without_space_takes_nothing_and_everything_once_it_has_some(
    figure: Callable[[str], None],
) -> None:
    with a_site() as site, small_disk(site, site.collector_state, COLLECTOR_DISK_MIB) as disk:
        site.start_collector()
        site.start_agent()
        site.wait("content on the agent", lambda: any(b.header.content for b in site.batches()))
        with Load(site.auth_log, site.watched, lines_per_s=LINES_PER_S) as load:
            time.sleep(1)
            disk.fill()
            time.sleep(FULL_S)
            owed = site.owed()
            disk.release()
        began = time.monotonic()
        site.wait("everything indexed", lambda: judge.all_arrived(site, load))
        drained_s = time.monotonic() - began

        assert owed > 0
        assert starts(site) == dict.fromkeys(ROLES, 1)
        assert site.stop("agent") == 0
        site.wait("everything sealed in the ledger", site.all_taken)
        site.wait("everything indexed and forwarded", site.is_settled)
        assert judge.logins(site, load) == NONE
        assert judge.files(site, load) == NONE
        judge.check_ledger(site)
        judge.check_forwarded(site)
        figure(f"collector's disk full: {load.lines} logins, 0 lost, drained in {drained_s:.1f} s")


def test_what_an_agent_gives_up_in_an_outage_too_long_for_its_disk_is_stated(
    figure: Callable[[str], None],
) -> None:
    with a_site() as site, small_disk(site, site.agent_state, OUTAGE_DISK_MIB):
        site.start_collector()
        site.start_agent()
        site.wait("a first batch", site.batches)
        site.stop("collector")
        with Load(site.auth_log, site.watched, lines_per_s=FLOOD_LINES_PER_S) as load:
            time.sleep(FLOOD_S)
        site.start_collector()
        site.wait("the newest login", lambda: judge.has_login(site, load.lines - 1))
        assert starts(site)["sense"] == starts(site)["ship"] == 1
        assert site.stop("agent") == 0
        # What was given up last is stated in the batch of the next start.
        site.start_agent()
        site.wait("no gap left", lambda: not judge.gaps(site))
        site.wait("everything indexed and forwarded", site.is_settled)

        stated = judge.stated_as_lost(site)
        judge.check_trust(site)
        difference = judge.logins(site, load)
        assert difference.duplicated == difference.unknown == []
        assert 0 < len(difference.lost) <= stated
        assert len(difference.lost) < load.lines
        lost = len(difference.lost)
        figure(f"disk too small for an outage: {lost} of {load.lines} lost, {stated} stated")
