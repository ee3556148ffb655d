"""What happened on the host, compared with what the collector has of it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from proto.model import DropReason, EpochReason
from tests.e2e.load import Load, address_of, number_of
from tests.e2e.site import Site

FILE_RULE, LOGIN_RULE = "indicator.sha256", "login.failed"


class Difference(Struct, frozen=True):
    """Numbers that did not arrive, and numbers that arrived more than once."""

    lost: list[int]
    duplicated: list[int]
    unknown: list[int]


NONE = Difference([], [], [])


def compared(expected: int, arrived: Iterable[int]) -> Difference:
    """Compare the numbers below ``expected`` with those that arrived."""
    counts = Counter(arrived)
    wanted = range(expected)
    return Difference(
        lost=[number for number in wanted if not counts[number]],
        duplicated=sorted(number for number, count in counts.items() if count > 1),
        unknown=sorted(number for number in counts if number not in wanted),
    )


def logins(site: Site, load: Load) -> Difference:
    """Compare the logins written with the findings that the collector lists."""
    found = site.findings(LOGIN_RULE)
    return compared(
        load.lines, (number_of(row["body"]["login"]["remote_address"]) for row in found)
    )


def files(site: Site, load: Load) -> Difference:
    """Compare the files made with the findings that the collector lists."""
    found = site.findings(FILE_RULE)
    paths = (Path(row["body"]["entities"][0]["value"]["path"]) for row in found)
    return compared(load.files, (int(path.name.partition(".")[0]) for path in paths))


def count_arrived(site: Site, rule: str) -> int:
    """Return how many findings of a rule are indexed."""
    ((count,),) = site.query("index", "SELECT count(*) FROM findings WHERE rule = ?", rule) or [
        (0,)
    ]
    return int(count)


def has_login(site: Site, number: int) -> bool:
    """Return whether a numbered login is indexed."""
    return site.has_finding(LOGIN_RULE, f'"{address_of(number)}"')


def all_arrived(site: Site, load: Load) -> bool:
    """Return whether at least as much is indexed as happened."""
    return (
        count_arrived(site, LOGIN_RULE) >= load.lines
        and count_arrived(site, FILE_RULE) >= load.files
    )


def check_ledger(site: Site) -> None:
    """See that everything sealed is in the ledger, once, and that the host is trusted."""
    ledger = Counter(site.ledger())
    sealed = site.outbox()
    assert [place for place, count in ledger.items() if count > 1] == []
    assert sealed - {(epoch, seq) for _, epoch, seq in ledger} == set()
    check_trust(site)


def check_trust(site: Site) -> None:
    """See that the host is trusted and that no projection gave a batch up."""
    assert site.query("ledger", "SELECT kind, agent, epoch, seq FROM flags") == []
    assert site.query("index", "SELECT * FROM poison") == []
    assert site.query("correlate", "SELECT * FROM poison") == []


def gaps(site: Site) -> set[tuple[bytes, bytes, int]]:
    """Return the places of all chains that are neither kept nor stated as lost."""
    kept = {(batch.agent, batch.epoch, batch.seq) for batch in site.batches()}
    stated = {
        (agent, epoch, seq)
        for agent, epoch, first, last, _ in _stated(site)
        for seq in range(first, last + 1)
    }
    tops: dict[tuple[bytes, bytes], int] = {}
    for agent, epoch, seq in kept | stated:
        tops[agent, epoch] = max(seq, tops.get((agent, epoch), 0))
    everything = {(*chain, seq) for chain, top in tops.items() for seq in range(1, top + 1)}
    return everything - kept - stated


def stated_as_lost(site: Site) -> int:
    """Return how many records are stated as lost."""
    return sum(records for *_, records in _stated(site))


def _stated(site: Site) -> list[tuple[bytes, bytes, int, int, int]]:
    query = (
        "SELECT agent, epoch, first_seq, last_seq, records FROM lost JOIN chains USING (chain)"
        " JOIN agents USING (agent) WHERE NOT is_own"
    )
    return [
        (a, e, first, last, records) for a, e, first, last, records in site.query("ledger", query)
    ]


def check_starts(site: Site) -> int:
    """See that each start after a kill is stated, in a header and in a record; return how many."""
    opened = [batch.header.opens for batch in site.batches() if batch.header.opens is not None]
    unclean = [one for one in opened if one.reason is EpochReason.UNCLEAN_START]
    drops = [one for one in site.drops() if one.reason is DropReason.UNCLEAN_START]
    assert len(drops) == len(unclean)
    for one in unclean:
        parent = (one.parent_epoch, one.parent_seq)
        (stated,) = (drop for drop in drops if (drop.epoch, drop.last_seq) == parent)
        assert (stated.first_boot, stated.last_boot) == (one.blind_from, one.blind_to)
    return len(unclean)


def check_forwarded(site: Site) -> None:
    """See that the receiver got each alert, and what came twice under its own id."""
    ids = site.hec.received.ids()
    alerts = {row[0] for row in _uids(site, "alert")}
    quiet = {row[0] for row in _uids(site, "signal")}
    assert alerts - ids.keys() == set()
    assert quiet & ids.keys() == set()


def _uids(site: Site, disposition: str) -> list[tuple[str]]:
    query = "SELECT lower(hex(uid)) FROM findings WHERE disposition = ?"
    return [
        (f"{u[:8]}-{u[8:12]}-{u[12:16]}-{u[16:20]}-{u[20:]}",)
        for (u,) in site.query("index", query, disposition)
    ]
