"""One contestant of the indicator benchmark in a process of its own: opens, answers, is weighed.

``python -m bench.lookups index|set|table|names|ranges DIR`` prints its figures as one JSON object.
"""

import gc
import json
import mmap
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from bench.procfs import Memory, memory
from bench.report import seconds_of
from proto.content.index import MappedIndex
from proto.content.kinds import IndicatorKind

Probe = tuple[IndicatorKind, str]
Ask = Callable[[IndicatorKind, str], object]

_MS_PER_S = 1000


def compete(name: str, root: Path) -> dict[str, float]:
    """Return the figures of one contestant over the files of ``bench.indicators``.

    Args:
        name: a key of `CONTESTANTS`, and of the file that it opens.
        root: where the files are.

    Raises:
        AssertionError: it found what it should not, or did not find what it should.
    """
    if name in ONE_KIND:
        return ONE_KIND[name](root)
    present, absent = (_probes(root / kind) for kind in ("present", "absent"))
    gc.collect()
    before = memory()
    opened: list[Ask] = []
    open_s = seconds_of(lambda: opened.append(_opened(name, root / name, absent[0])))
    ask = opened[0]
    misses = _answers(ask, absent)
    after = memory()
    hits = _answers(ask, present)
    if misses.found or hits.found < hits.asked:
        raise AssertionError(f"{name}: {hits.found} of {hits.asked} found, {misses.found} wrongly")
    return {
        "misses_per_second": misses.asked / misses.seconds,
        "hits_per_second": hits.asked / hits.seconds,
        "rss_mib": _more(before, after).rss,
        "anonymous_rss_mib": _more(before, after).anonymous,
        "rss_after_hits_mib": _more(before, memory()).rss,
        "open_ms": open_s * _MS_PER_S,
    }


def _more(before: Memory, after: Memory) -> Memory:
    return Memory(
        max(0.0, after.rss - before.rss),
        max(0.0, after.pss - before.pss),
        max(0.0, after.anonymous - before.anonymous),
    )


class _Answers(Struct, frozen=True):
    asked: int
    found: int
    seconds: float


def _answers(ask: Ask, probes: Sequence[Probe]) -> _Answers:
    # Once to touch the pages and count, once for the clock.
    found = sum(bool(ask(kind, value)) for kind, value in probes)

    def again() -> None:
        for kind, value in probes:
            ask(kind, value)

    began = time.process_time()
    again()
    return _Answers(len(probes), found, time.process_time() - began)


def _probes(path: Path) -> list[Probe]:
    lines = path.read_text("utf-8").splitlines()
    return [(IndicatorKind(kind), value) for kind, _, value in (x.partition(" ") for x in lines)]


def _opened(name: str, path: Path, first: Probe) -> Ask:
    ask = CONTESTANTS[name](path)
    ask(*first)
    return ask


def _mapped(path: Path) -> MappedIndex:
    with path.open("rb") as file:
        return MappedIndex(memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))


def _index(path: Path) -> Ask:
    index = _mapped(path)

    def ask(kind: IndicatorKind, value: str) -> object:
        # As the matcher does: an address is covered by addresses, networks and endpoints alike.
        if kind is IndicatorKind.IPV4:
            return index.lookup_address(value, None)
        return index.lookup(kind, value)

    return ask


def _names(root: Path) -> dict[str, float]:
    index = _mapped(root / "index")
    answers = _answers(lambda _, name: index.lookup_name(name), _probes(root / "names"))
    if answers.found:
        raise AssertionError(f"names: {answers.found} found wrongly")
    absent = [probe for probe in _probes(root / "absent") if probe[0] is IndicatorKind.URL]
    urls = _answers(lambda _, url: index.lookup_url(url), absent)
    return {
        "domain_parents_per_second": answers.asked / answers.seconds,
        "urls_with_host_per_second": urls.asked / urls.seconds,
    }


def _ranges(root: Path) -> dict[str, float]:
    index = _mapped(root / "ranges")
    probes = _probes(root / "addresses")
    answers = _answers(lambda _, address: index.lookup_address(address, None), probes)
    return {"cidr_lookups_per_second": answers.asked / answers.seconds}


def _set(path: Path) -> Ask:
    sets: dict[IndicatorKind, set[str]] = {kind: set() for kind in IndicatorKind}
    with path.open(encoding="utf-8") as file:
        for line in file:
            kind, _, value = line.rstrip("\n").partition(" ")
            sets[IndicatorKind(kind)].add(value)

    def ask(kind: IndicatorKind, value: str) -> object:
        return value in sets[kind]

    return ask


def _table(path: Path) -> Ask:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    query = "SELECT feed, confidence FROM indicators WHERE value = ? AND kind = ?"

    def ask(kind: IndicatorKind, value: str) -> object:
        return db.execute(query, (value, kind.value)).fetchall()

    return ask


CONTESTANTS: Mapping[str, Callable[[Path], Ask]] = {
    "index": _index,
    "set": _set,
    "table": _table,
}
ONE_KIND: Mapping[str, Callable[[Path], dict[str, float]]] = {"names": _names, "ranges": _ranges}


if __name__ == "__main__":
    print(json.dumps(compete(sys.argv[1], Path(sys.argv[2]))))
