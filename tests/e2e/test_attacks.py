"""Wrong tokens, foreign authorities, cut-off agents, bad files: a clear word, and nothing lost."""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proto.model import Audit, DropReason
from tests.e2e import judge
from tests.e2e.judge import NONE
from tests.e2e.link import Link, Way
from tests.e2e.load import Load
from tests.e2e.site import Done, Site, a_site

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

SEED = 20_261_122
REVOKED_S_MAX = 2.0
REFUSED, UNREACHABLE = 6, 5
CONFIGURATION, LOCKED = 4, 7


def check_refused(done: Done, code: int, word: str) -> None:
    """See that a command failed with a code, and said why in a line or two and no traceback."""
    assert done.code == code, done.err
    assert word in done.err
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) <= 3


def test_a_token_is_good_once_in_its_time_at_its_collector() -> None:
    with a_site() as site, a_site() as other:
        site.start_collector()
        other.start_collector()
        site.write_agent_config()
        other.write_agent_config()
        used, expired = site.token(), site.token("--life-s", "1")
        foreign = other.token()
        assert site.enroll(used).code == 0
        time.sleep(1.1)

        check_refused(other.enroll(used, at=site), REFUSED, "token")
        check_refused(other.enroll(expired, at=site), REFUSED, "token")
        check_refused(other.enroll(foreign, at=site), UNREACHABLE, "certificate")
        check_refused(other.enroll("not-a-token\n"), REFUSED, "token")
        assert not list((other.agent_state / "ship").glob("tls*"))
        assert other.enroll(site.token(), at=site).code == 0
        check_refused(other.enroll(site.token(), at=site), REFUSED, "enrolled already")


def test_an_agent_speaks_with_its_own_collector_and_a_collector_with_its_own_agents() -> None:
    with a_site() as site, a_site() as other, Link(site.ports["intake"]) as link:
        site.intake_port = link.port
        site.start_collector()
        other.start_collector()
        site.start_agent()
        site.wait("content on the agent", lambda: version(site))
        with Load(site.auth_log, site.watched) as load:
            link.redirect(other.ports["intake"])
            site.wait("a refused collector", lambda: uplink_lost(site, "CERTIFICATE_VERIFY_FAILED"))
            # As if somebody had made the networked half trust the other collector.
            site.stop("agent")
            trusted, foreign = site.agent_state / "ship" / "trust.json", trust_of(other)
            own = trusted.read_bytes()
            trusted.write_bytes(foreign)
            before = len(site.told("uplink lost"))
            site.start_agent()
            site.wait("refusals", lambda: len(site.told("uplink lost")) > before + 2)
        assert other.batches() == []
        site.stop("agent")
        trusted.write_bytes(own)
        link.redirect(site.ports["intake"])
        site.start_agent()
        site.wait("everything indexed", lambda: judge.all_arrived(site, load))
        assert judge.logins(site, load) == NONE


def uplink_lost(site: Site, why: str) -> bool:
    return any(why in one["reason"] for one in site.told("uplink lost"))


def trust_of(other: Site) -> bytes:
    """Return the trust.json that hosts of another collector get."""
    other.write_agent_config()
    assert other.enroll(other.token()).code == 0
    return (other.agent_state / "ship" / "trust.json").read_bytes()


def test_a_revoked_agent_is_cut_at_once_and_stays_out(figure: Callable[[str], None]) -> None:
    with a_site() as site:
        site.start_collector()
        site.start_agent()
        with Load(site.auth_log, site.watched) as load:
            site.wait("some batches", lambda: len(site.batches()) > 5)
            (agent,) = (row["agent"] for row in site.collector("agents", "ls", "--json").rows())
            before = len(site.told("uplink lost"))
            began = time.monotonic()
            done = site.collector("agents", "revoke", agent, "--reason", "lost laptop")
            asked_s = time.monotonic() - began
            assert done.code == 0, done.err
            site.wait("the cut", lambda: len(site.told("uplink lost")) > before, REVOKED_S_MAX)
            cut_s = time.monotonic() - began
            taken = len(site.batches())
            assert "revoked" in site.told("uplink lost")[-1]["reason"]
            time.sleep(1)
            assert len(site.batches()) == taken
            site.stop("collector")
            site.start_collector()
            time.sleep(2)
            assert len(site.batches()) == taken
        assert site.stop("agent") == 0
        assert site.owed() > 0 < load.lines
        figure(f"revocation: cut {cut_s:.2f} s after the command began ({asked_s:.2f} s of it)")


def test_one_state_has_one_daemon() -> None:
    with a_site() as site:
        site.start_collector()
        site.start_agent()

        check_refused(site.agent("sense"), LOCKED, "lock")
        assert site.agent("run").code == LOCKED
        check_refused(site.collector("run", tenant=False), LOCKED, "lock")
        assert site.collector("run", "--role", "gate", tenant=False).code == LOCKED
        assert [len(site.pids(role)) for role in ("sense", "gate")] == [1, 1]


def test_content_that_is_bent_or_taken_back_is_refused_and_the_refusal_sealed() -> None:
    with a_site() as site, Link(site.ports["intake"]) as link:
        site.intake_port = link.port
        site.start_collector()
        site.start_agent()
        site.wait("content on the agent", lambda: version(site))
        first, published = version(site), site.collector_state / "feeds" / "content"
        kept = site.root / "kept"
        shutil.copytree(published, kept)

        link.turn(Way.CUT)
        publish(site, "another.example")
        good = site.root / "good"
        shutil.copytree(published, good)
        for bundle in (published / "targets").rglob("*.vdx"):
            data = bundle.read_bytes()
            bundle.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        link.turn(Way.OPEN)
        refused = site.wait("a refusal", lambda: refusals(site))
        assert version(site) == first
        assert all(one.detail[-1].value == first for one in refusals(site))

        replace(published, good)
        site.wait("the new content", lambda: version(site) != first)
        second = version(site)
        count = len(refusals(site))
        link.turn(Way.CUT)
        replace(published, kept)
        link.turn(Way.OPEN)
        site.wait("another refusal", lambda: len(refusals(site)) > count)
        assert version(site) == second
        assert "rollback" in {arg.value for arg in refusals(site)[-1].detail}
        assert refused > 0
        judge.check_trust(site)


def version(site: Site) -> str:
    """Return the version of the indicators that the newest header names."""
    batches = site.batches()
    content = batches[-1].header.content if batches else ()
    return content[0].version if content else ""


def publish(site: Site, domain: str) -> None:
    with (site.feeds / "lists.csv").open("a") as file:
        file.write(f"domain,{domain},made up\n")
    done = site.collector("feeds", "run", tenant=False)
    assert done.code == 0, done.err


def refusals(site: Site) -> list[Audit]:
    return [a for a in site.audits() if (a.action, a.outcome) == ("content.swap", "refused")]


def replace(target: Path, source: Path) -> None:
    shutil.rmtree(target)
    shutil.copytree(source, target)


@pytest.mark.parametrize("what", ["headers", "segments"])
def test_a_damaged_outbox_starts_delivers_the_rest_and_states_the_gap(
    what: str, figure: Callable[[str], None]
) -> None:
    rng = random.Random(f"{SEED} {what}")
    with a_site() as site, Link(site.ports["intake"]) as link:
        site.intake_port = link.port
        site.start_collector()
        site.start_agent()
        site.wait("content on the agent", lambda: version(site))
        link.turn(Way.CUT)
        with Load(site.auth_log, site.watched, lines_per_s=1000) as load:
            time.sleep(6)
        assert site.stop("agent") == 0
        sealed = site.outbox()
        damage(site, what, rng)

        began = time.monotonic()
        site.start_agent()
        started_s = time.monotonic() - began
        link.turn(Way.OPEN)
        site.wait("the newest login", lambda: judge.has_login(site, load.lines - 1))
        site.wait("no gap left", lambda: not judge.gaps(site))
        site.wait("everything indexed and forwarded", site.is_settled)
        assert site.stop("agent") == 0

        stated = judge.stated_as_lost(site)
        difference = judge.logins(site, load)
        assert difference.duplicated == difference.unknown == []
        assert len(difference.lost) <= stated
        judge.check_trust(site)
        lost = {(e, s) for e, s in sealed} - {(e, s) for _, e, s in site.ledger()}
        assert len(lost) < len(sealed) / 2
        if what == "segments":
            assert lost
            dropped = [one for batch in site.batches() for one in batch.header.dropped]
            assert {one.reason for one in dropped} == {DropReason.QUARANTINED}
        figure(
            f"damaged {what}: started in {started_s:.1f} s, {len(lost)} of {len(sealed)} batches"
            f" lost and stated, {len(difference.lost)} of {load.lines} logins"
        )


def damage(site: Site, what: str, rng: random.Random) -> None:
    """Bend bytes of the header log, or of the segments, at seeded places."""
    directory = site.agent_state / ("sense" if what == "headers" else "outbox")
    paths = [directory / "headers.log"] if what == "headers" else sorted(directory.glob("*.seg"))
    for path in paths:
        data = bytearray(path.read_bytes())
        used = len(bytes(data).rstrip(b"\0"))
        for place in rng.sample(range(used), 3):
            data[place] ^= 1 << rng.randrange(8)
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("sense.sealing.low_wait", "5", "unknown"),
        ("uplink.window_batches_max", "0", ">= 1"),
        ("uplink.window_batches_max", '"many"', "int"),
        ("sense.sensors.enabled", '["sockets", "telepathy"]', "telepathy"),
    ],
)
def test_a_bad_key_is_named_with_its_file_and_rule(key: str, value: str, rule: str) -> None:
    with a_site() as site:
        site.write_agent_config()
        section, _, name = key.rpartition(".")
        site.agent_config.write_text(f"[{section}]\n{name} = {value}\n")

        for words in (["config", "check"], ["run"]):
            done = site.agent(*words)
            check_refused(done, CONFIGURATION, str(site.agent_config))
            assert name in done.err
            assert rule in done.err
