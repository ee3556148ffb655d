"""Whatever happens between agent and collector, everything arrives once."""

import os
import random
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.debian import extracted
from tests.e2e import judge
from tests.e2e.judge import NONE
from tests.e2e.link import Link, Way
from tests.e2e.load import Load
from tests.e2e.site import Site, a_site

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

SEED = 20_261_122
OUTAGE_S, FLOOD_LINES_PER_S = 10, 2_000
WINDOW_BATCHES = 16
DAYS = ("+1d", "-1d")
SKEWED_S = 4


def no_more(_site: Site) -> dict[str, str]:
    return {}


@contextmanager
def a_linked_site(
    more: Callable[[Site], dict[str, str]] = no_more,
) -> Iterator[tuple[Site, Link]]:
    """A site whose agent reaches its collector through a link, and gives up waiting soon."""
    with a_site() as site, Link(site.ports["intake"]) as link:
        site.intake_port = link.port
        site.agent_env = {
            "VEDETTE__UPLINK__RECEIPT_TIMEOUT_S": "2",
            "VEDETTE__UPLINK__CONNECT_TIMEOUT_S": "2",
            **more(site),
        }
        site.start_collector()
        site.start_agent()
        site.wait("content on the agent", lambda: any(b.header.content for b in site.batches()))
        yield site, link


def check_once(site: Site, load: Load) -> None:
    """Stop the agent and see that everything arrived once, from one life of `sense`."""
    site.wait("everything indexed", lambda: judge.all_arrived(site, load))
    assert len(site.pids("sense")) == 1
    assert site.stop("agent") == 0
    site.wait("everything sealed in the ledger", site.all_taken)
    site.wait("everything indexed and forwarded", site.is_settled)
    assert judge.logins(site, load) == NONE
    assert judge.files(site, load) == NONE
    judge.check_ledger(site)
    judge.check_forwarded(site)
    assert judge.gaps(site) == set()
    assert judge.stated_as_lost(site) == 0


def sent(site: Site) -> float:
    """Return how many batches the agent has sent, each time counted."""
    url = f"http://127.0.0.1:{site.ports['metrics']}/metrics"
    with urllib.request.urlopen(url, timeout=5) as reply:
        lines = reply.read().decode().splitlines()
    (value,) = (x.split()[1] for x in lines if x.startswith("vedette_agent_uplink_batches_sent"))
    return float(value)


def test_a_link_that_is_cut_stalled_and_deaf_delivers_everything_once(
    fault_count: int, figure: Callable[[str], None]
) -> None:
    rng = random.Random(SEED)
    faults = [(Way.CUT, Way.STALLED, Way.DEAF)[n % 3] for n in range(fault_count + 2)]
    rng.shuffle(faults)
    with a_linked_site() as (site, link):
        with Load(site.auth_log, site.watched) as load:
            for way in faults:
                time.sleep(rng.uniform(0.2, 1))
                link.turn(way)
                time.sleep(rng.uniform(0.2, 1.5))
                link.turn(Way.OPEN)
        site.wait("everything indexed", lambda: judge.all_arrived(site, load))
        again = sent(site) - len(site.batches())

        check_once(site, load)
        assert again > 0
        figure(
            f"link: {len(faults)} faults, {load.lines} logins, 0 lost, 0 duplicated,"
            f" {again:.0f} batches sent again, {link.connections} connections"
        )


def test_what_piles_up_in_a_long_outage_arrives_once_when_it_ends(
    figure: Callable[[str], None],
) -> None:
    with a_linked_site() as (site, link):
        link.turn(Way.CUT)
        with Load(site.auth_log, site.watched, lines_per_s=FLOOD_LINES_PER_S) as load:
            time.sleep(OUTAGE_S)
        owed = site.owed()
        link.turn(Way.OPEN)
        began = time.monotonic()
        site.wait("everything indexed", lambda: judge.all_arrived(site, load))
        drained_s = time.monotonic() - began

        check_once(site, load)
        assert owed > 2 * WINDOW_BATCHES
        figure(f"outage of {OUTAGE_S} s: {owed} batches owed, indexed in {drained_s:.1f} s")


def test_a_clock_off_by_a_day_loses_nothing(tmp_path: Path, figure: Callable[[str], None]) -> None:
    package = extracted(tmp_path, "libfaketime")
    with a_linked_site(lambda site: clock_env(site, package)) as (site, _):
        with Load(site.auth_log, site.watched) as load:
            for day in DAYS:
                set_clock(site, day)
                time.sleep(SKEWED_S)
                # New connections have to be made by the wrong clock, too.
                os.kill(site.pids("ship")[-1], signal.SIGKILL)
                time.sleep(SKEWED_S)
            set_clock(site, "+0")
        check_once(site, load)
        walls = {round((b.header.wall / 1e9 - time.time()) / 86_400) for b in site.batches()}
        assert walls == {-1, 0, 1}
        figure(f"clock a day ahead and a day behind: {load.lines} logins, 0 lost, 0 duplicated")


def clock_env(site: Site, package: Path) -> dict[str, str]:
    """Return what makes the agent's wall clock ours to set; both its halves can read the file."""
    library = next(package.rglob("libfaketime.so.1"), None)
    if library is None:
        pytest.skip("the package libfaketime holds no library")
    shutil.copyfile(library, site.root / library.name)
    set_clock(site, "+0")
    return {
        "LD_PRELOAD": str(site.root / library.name),
        "FAKETIME_TIMESTAMP_FILE": str(site.root / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(site: Site, offset: str) -> None:
    """Move the agent's wall clock, in the words of libfaketime."""
    fresh = site.root / "clock.new"
    fresh.write_text(f"{offset}\n")
    fresh.rename(site.root / "clock")
