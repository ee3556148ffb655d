"""The indicator index: how fast a host asks it, and what it costs to keep at hand.

Input: indicators of which 4 in 10 are SHA-256 digests, 3 are domains, 2 are URLs and 1 is an IPv4
address, and as many values asked for in the same mix, present ones and absent ones.
Inside the clock of a lookup, which is CPU time: from the text a sensor yields to the rows found,
with where they come from. The value itself is asked for, as of the peers; an address for every
network around it. ``domain_parents_per_second`` are names of three to five labels that are not
listed, each with every domain above it; ``urls_with_host_per_second`` the absent URLs, each with
its host and all that lies in; ``cidr_lookups_per_second`` random addresses among 170,000 networks
and addresses.
``open_ms``: from the file on disk to the first answer, by the wall. ``build_cpu_seconds``: from the
values to the bytes of the file. Memory is what a process has more after opening and all misses than
before (``rss_after_hits_mib``: and all hits); mapped pages of a file are shared and can be dropped,
anonymous ones cannot. Each contestant runs in a process of its own.

Peers: a ``set`` of ``str`` for each kind, read from a text file, and a SQLite table WITHOUT ROWID
with the value as its key. Both know the value itself alone: no domain above it, no network.
"""

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from bench.report import BenchFailed, Figures, against, medians
from proto.content.build import IndexBuilder
from proto.content.kinds import IndicatorKind
from proto.content.layout import Release
from proto.content.records import Provenance

CLOCK = "one lookup, from the text a sensor yields to the rows found with their provenance"
SCALE = 1_000_000
UNIT = "indicators"
PROBES_MAX = 50_000
RUNS = 3
CHILD_TIMEOUT_S = 300

_MIB: Final = 1024 * 1024
_MIX: Final = (
    *[IndicatorKind.SHA256] * 4,
    *[IndicatorKind.DOMAIN] * 3,
    *[IndicatorKind.URL] * 2,
    IndicatorKind.IPV4,
)
_RANGES: Final = 170_000
_WIDE: Final = 50_000
_V4: Final = IndicatorKind.IPV4
_FEED: Final = Provenance(feed="bench", family="sample", confidence=80)

Value = tuple[IndicatorKind, str]


def measure(scale: int) -> Figures:
    """Build index, set and table from the same indicators, and ask each.

    Raises:
        BenchFailed: a contestant did not answer as it should.
    """
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as scratch:
        root = Path(scratch)
        listed = list(values(scale, seed=1))
        write_lines(root / "set", listed)
        build_s = write_index(root / "index", listed)
        write_index(root / "ranges", list(networks(min(scale, _RANGES), seed=4)))
        write_table(root / "table", listed)
        asked = min(scale, PROBES_MAX)
        write_lines(root / "present", random.Random(3).sample(listed, asked))
        # Another seed: that one of these is listed after all is next to impossible.
        write_lines(root / "absent", list(values(asked, seed=2)))
        write_lines(root / "names", list(names(asked, seed=5)))
        write_lines(root / "addresses", [(_V4, text) for text in addresses(asked, seed=6)])
        del listed
        ours, in_set, in_table = (_contest(name, root, scale) for name in ("index", "set", "table"))
        special = [_medians(name, root) for name in ("names", "ranges")]
    for figures in special:
        ours |= figures
    ours["build_cpu_seconds"] = build_s
    return Figures(
        ours,
        {
            "set_of_str": against(ours, in_set),
            "sqlite_without_rowid": against(ours, in_table),
        },
    )


def values(count: int, seed: int) -> Iterator[Value]:
    """Yield so many values in the usual mix of kinds; the same seed gives the same ones."""
    draw = random.Random(seed)
    for number in range(count):
        kind = _MIX[number % len(_MIX)]
        if kind is IndicatorKind.SHA256:
            yield kind, draw.randbytes(32).hex()
        elif kind is IndicatorKind.IPV4:
            yield kind, str(IPv4Address(draw.randrange(1 << 24, 224 << 24)))
        elif kind is IndicatorKind.DOMAIN:
            yield kind, f"{draw.randbytes(5).hex()}.example{draw.randrange(100)}.com"
        else:
            host = f"{draw.randbytes(3).hex()}.example.com"
            yield kind, f"http://{host}/{draw.randbytes(6).hex()}/bin.sh"


def names(count: int, seed: int) -> Iterator[Value]:
    """Yield names of three to five labels that `values` does not list."""
    draw = random.Random(seed)
    for number in range(count):
        labels = [draw.randbytes(3).hex() for _ in range(1 + number % 3)]
        yield IndicatorKind.DOMAIN, ".".join([*labels, f"site{draw.randrange(10**6)}", "org"])


def networks(count: int, seed: int) -> Iterator[Value]:
    """Yield networks and, where there are more, single addresses."""
    draw = random.Random(seed)
    for number, text in enumerate(addresses(count, seed)):
        if number * _RANGES < _WIDE * count:
            yield IndicatorKind.CIDR, f"{text}/{draw.randrange(16, 29)}"
        else:
            yield _V4, text


def addresses(count: int, seed: int) -> Iterator[str]:
    """Yield random addresses."""
    draw = random.Random(seed)
    for _ in range(count):
        yield str(IPv4Address(draw.randrange(1 << 24, 224 << 24)))


def _contest(name: str, root: Path, scale: int) -> dict[str, float]:
    """Return the middle figures of a contestant, and what it keeps of each indicator.

    Raises:
        BenchFailed: it did not end well.
    """
    figures = _medians(name, root)
    # A set lives in memory alone; the text file it was read from is nothing to compare with.
    kept = figures["rss_mib"] * _MIB if name == "set" else (root / name).stat().st_size
    return {"bytes_per_indicator": kept / scale, **figures}


def _medians(name: str, root: Path) -> dict[str, float]:
    """Run a contestant several times, each in a fresh process, and return its middle figures.

    Raises:
        BenchFailed: it did not end well.
    """
    argv = [sys.executable, "-m", "bench.lookups", name, str(root)]
    runs = []
    for _ in range(RUNS):
        done = subprocess.run(
            argv, capture_output=True, check=False, text=True, timeout=CHILD_TIMEOUT_S
        )
        if done.returncode:
            raise BenchFailed(f"{name}: {done.stderr.strip()[-300:]}")
        runs.append({key: float(value) for key, value in json.loads(done.stdout).items()})
    return medians(runs)


def write_lines(path: Path, found: Sequence[Value]) -> None:
    """Write one value a line, with its kind: what a set is read from."""
    path.write_text("".join(f"{kind} {value}\n" for kind, value in found), "utf-8")


def write_index(path: Path, found: Sequence[Value]) -> float:
    """Write the file a host maps and return the CPU seconds that it took to make."""
    began = time.process_time()
    builder = IndexBuilder(Release(version=1, built_at=0, salt=bytes(16), source=bytes(32)))
    for kind, value in found:
        builder.add(kind, value, _FEED)
    data = builder.finish()
    took = time.process_time() - began
    path.write_bytes(data)
    return took


def write_table(path: Path, found: Sequence[Value]) -> None:
    """Write the peer's database."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "CREATE TABLE indicators (value TEXT PRIMARY KEY, kind TEXT NOT NULL,"
            " feed TEXT NOT NULL, confidence INTEGER NOT NULL) WITHOUT ROWID"
        )
        db.executemany(
            "INSERT OR IGNORE INTO indicators VALUES (?, ?, 'bench', 80)",
            sorted((value, kind.value) for kind, value in found),
        )
        db.commit()
