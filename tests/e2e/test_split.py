"""Who takes the networked half over gets nothing of the other: no key, no file, no silence."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from agent.privileges import CAPABILITIES
from proto.model import Split
from tests.e2e import intruder, judge
from tests.e2e.everyone import as_user
from tests.e2e.judge import NONE
from tests.e2e.load import Load
from tests.e2e.site import SENSE_UID, SHIP_UID, Site, a_site

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.timeout(180)]

SENSE_CAPABILITIES = {"dac_read_search", "sys_ptrace", "audit_read"}
IP_TABLES = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6")


def test_the_networked_half_can_do_nothing_to_the_other(everyones_python: str) -> None:
    with a_site(everyones_python) as site:
        site.start_collector()
        site.start_agent()
        site.wait("content on the agent", lambda: any(b.header.content for b in site.batches()))
        assert {batch.header.split for batch in site.batches()} == {Split.USERS}
        sense, ship = (site.pids(role)[-1] for role in ("sense", "ship"))
        check_processes(sense, ship)

        site.stop("collector")
        with Load(site.auth_log, site.watched, lines_per_s=100) as load:
            time.sleep(1.5)
            owed, segments = site.owed(), sizes(site)
            results = intrude(site, sense)
            time.sleep(1.5)
        assert results.pop("read a segment") == results.pop("knock") == "done"
        assert set(results.values()) == {"PermissionError"}, results
        assert site.owed() >= owed > 0
        assert segments.items() <= sizes(site).items()

        site.start_collector()
        site.wait("everything indexed", lambda: judge.all_arrived(site, load))
        assert [len(site.pids(role)) for role in ("sense", "ship")] == [1, 1]
        assert site.stop("agent") == 0
        assert judge.logins(site, load) == NONE
        assert judge.files(site, load) == NONE
        judge.check_trust(site)


def check_processes(sense: int, ship: int) -> None:
    """See whose processes they are, what they may, and which networks they speak to."""
    of_sense, of_ship = status(sense), status(ship)
    assert of_sense["Uid"].split() == [str(SENSE_UID)] * 4
    assert of_ship["Uid"].split() == [str(SHIP_UID)] * 4
    allowed = sum(1 << CAPABILITIES[name] for name in SENSE_CAPABILITIES)
    for kind in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert int(of_sense[kind], 16) & ~allowed == 0, kind
        assert int(of_ship[kind], 16) == 0, kind
    assert of_sense["NoNewPrivs"] == of_ship["NoNewPrivs"] == "1"
    assert ip_sockets(sense) == set()
    assert ip_sockets(ship) != set()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def ip_sockets(pid: int) -> set[str]:
    """Return the inodes of the IP sockets that a process holds."""
    held = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    inodes = {name[8:-1] for name in held if name.startswith("socket:[")}
    found: set[str] = set()
    for table in IP_TABLES:
        path = Path(f"/proc/{pid}/net/{table}")
        if path.exists():
            found |= {line.split()[9] for line in path.read_text().splitlines()[1:]}
    return inodes & found


def sizes(site: Site) -> dict[str, int]:
    """Return the segments that are there, by name."""
    return {path.name: path.stat().st_size for path in (site.agent_state / "outbox").iterdir()}


def intrude(site: Site, sense: int) -> dict[str, str]:
    """Run the intruder as the user of the networked half."""
    program = site.root / "intruder.py"
    shutil.copyfile(intruder.__file__, program)
    done = subprocess.run(
        [*as_user(SHIP_UID), site.python, "-P", program, site.agent_state, str(sense)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, str] = json.loads(done.stdout)
    return results
