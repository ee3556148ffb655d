"""Sigma rules over events: how many a second, and what it costs to have the rules at hand.

Input: the rules at ``VEDETTE_TEST_DATA`` or ``../shared/data`` (``rules_loaded`` says how many), or
the few of the tree without them; and events made here. Ordinary process events repeat themselves as
those of hosts do: 10,000 of them have about 3,000 distinct command lines. The routed mixes hold
attacks, too: one event in four (Linux) or ten (all rules) is made around the literals of a rule.
Inside the clock, which is CPU time: from an event's fields to the matches and their fields; reading
JSON is not. ``load_ms``, by the wall: from the file on disk to rules ready for the first event.
``rules_mib``: what a process has more after judging all events than before it had rules, with the
libraries that they need. Each mix runs in a process of its own.

Peer: the same conditions judged one by one, rules routed alike, without a prefilter.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from agent.sense.match.sigma import RuleEngine
from agent.sense.match.sigmaevent import FieldValue, SigmaEvent
from agent.sense.match.sigmajudge import Judges, Look
from agent.sense.match.sigmanormal import Leaf, Node, normal
from bench.report import BenchFailed, Figures, against, medians
from collector.content.sigmachild import compile_apart
from proto.content.rules import DetectionRule, Operator, Predicate, RuleSet, RuleSource
from proto.content.rulesfile import read

CLOCK = "one event, from its fields to the rules it meets; rules routed by log source"
SCALE = 20_000
UNIT = "events"
RUNS = 3
NAIVE_SHARE: Final = 20
CHILD_TIMEOUT_S = 300

_ROOT: Final = Path(__file__).parents[1]
_PROCESS: Final = RuleSource("linux", "process_creation")
_WINDOWS: Final = "windows"
_COMMANDS: Final = (
    "/usr/bin/dpkg --status-fd 9 --configure {n}",
    "/usr/bin/apt-get -qq -y install package{n}",
    "/bin/grep -q key{n} /etc/ssh/sshd_config",
    "/bin/sed -i s/a{n}/b/ /etc/default/service",
    "/usr/bin/systemctl restart unit{n}.service",
    "/bin/sh -c test -x /usr/sbin/anacron || run-parts /etc/cron.{n}",
    "/usr/bin/python3 /opt/app/manage.py task {n}",
    "/usr/bin/find /var/log -name app-{n}.log -mtime +7",
    "/usr/bin/rsync -a /srv/data/{n}/ backup:/srv/data/{n}/",
    "/usr/bin/git -C /srv/repo{n} fetch --quiet",
    "/usr/bin/curl -fsS https://status.example.com/ping/{n}",
    "/usr/bin/awk {{print ${n}}} /proc/meminfo",
    "/usr/sbin/logrotate /etc/logrotate.d/app{n}",
    "/usr/bin/make -j{n} all",
    "/usr/bin/gcc -O2 -c file{n}.c -o file{n}.o",
)
_PARENTS: Final = ("/bin/bash", "/usr/sbin/cron", "/usr/bin/make", "/usr/lib/systemd/systemd")

MIXES: Final = ("linux_process", "linux_routed", "all_routed")


def measure(scale: int) -> Figures:
    """Compile the rules once, and judge each mix of events by them.

    Raises:
        BenchFailed: a process did not end well.
    """
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as scratch:
        linux, everything = Path(scratch) / "linux.vdr", Path(scratch) / "all.vdr"
        place = rules_place()
        made = compile_apart(place)
        everything.write_bytes(made.data)
        linux.write_bytes(compile_apart(_linux_of(place)).data)
        ours: dict[str, float] = {"rules_loaded": made.rules}
        naive: dict[str, float] = {}
        for mix in MIXES:
            file = everything if mix == "all_routed" else linux
            told = medians([_child(mix, file, scale) for _ in range(RUNS)])
            naive[f"{mix}_events_per_second"] = told.pop("naive_events_per_second")
            prefix = "all" if mix == "all_routed" else "linux"
            ours[f"{mix}_events_per_second"] = told.pop("events_per_second")
            ours[f"{mix}_matches_per_event"] = told.pop("matches_per_event")
            ours |= {f"{prefix}_{name}": value for name, value in told.items()}
    return Figures(ours, {"naive": against(ours, naive)})


def rules_place() -> Path:
    """Return where the rules are: those of the community, or the few of the tree."""
    data = os.environ.get("VEDETTE_TEST_DATA") or _ROOT.parent / "shared" / "data"
    found = Path(data) / "sigma" / "rules"
    return found if found.is_dir() else _ROOT / "tests" / "data" / "sigma"


def _linux_of(place: Path) -> Path:
    return place / "linux" if (place / "linux").is_dir() else place


def _child(mix: str, file: Path, scale: int) -> dict[str, float]:
    words = [sys.executable, "-m", "bench.sigma", mix, str(file), str(scale)]
    done = subprocess.run(
        words, capture_output=True, check=False, timeout=CHILD_TIMEOUT_S, text=True, cwd=_ROOT
    )
    if done.returncode:
        raise BenchFailed(f"{mix}: {done.stderr.strip()[-400:]}")
    told: dict[str, float] = json.loads(done.stdout)
    return told


# -------------------------------------------------------------------------------- in the process


def judge_mix(mix: str, file: Path, scale: int) -> dict[str, float]:
    """Return the figures of one mix."""
    make_events: dict[str, Callable[[RuleSet], list[SigmaEvent]]] = {
        "linux_process": lambda _: [a_process(at, random.Random(at)) for at in range(scale)],
        "linux_routed": lambda rules: mixed(rules, scale, "linux", every=4),
        "all_routed": lambda rules: mixed(rules, scale, _WINDOWS, every=10),
    }
    events = make_events[mix](read(file.read_bytes()))
    before = _rss_mib()
    began = time.perf_counter()
    engine = RuleEngine(read(file.read_bytes()))
    for sources in dict.fromkeys(event.sources for event in events):
        engine.prepare(sources, frozenset())
    load_ms = (time.perf_counter() - began) * 1000
    began = time.process_time()
    matches = sum(len(engine.match(event)) for event in events)
    took = time.process_time() - began
    figures = {
        "events_per_second": len(events) / took,
        "matches_per_event": matches / len(events),
        "load_ms": load_ms,
        "rules_mib": _rss_mib() - before,
        "file_kib": file.stat().st_size / 1024,
    }
    figures["naive_events_per_second"] = naive(engine, events[:: NAIVE_SHARE * 2])
    return figures


def naive(engine: RuleEngine, events: Sequence[SigmaEvent]) -> float:
    """Return how many events a second are judged without a prefilter, and check the outcome.

    Raises:
        BenchFailed: the two do not agree.
    """
    judges = Judges(engine.rules.predicates)
    routed = {
        event.sources: [
            (rule.id, judges.judge(node))
            for rule in engine.rules.rules
            if any(rule.source.takes(source) for source in event.sources)
            and (node := normal(rule.condition, lambda _: True)) is not None
        ]
        for event in events
    }
    found: list[list[str]] = []
    began = time.process_time()
    for event in events:
        look = Look(event)
        found.append([name for name, judge in routed[event.sources] if judge(look)])
    took = time.process_time() - began
    if found != [[match.rule.id for match in engine.match(event)] for event in events]:
        raise BenchFailed("the prefilter lost a match")
    return len(events) / took


def _rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


# --------------------------------------------------------------------------------------- events


def a_process(at: int, draw: random.Random) -> SigmaEvent:
    """Return an ordinary process event of Linux."""
    command = _COMMANDS[at % len(_COMMANDS)].format(n=draw.randrange(200))
    parent = draw.choice(_PARENTS)
    fields: dict[str, FieldValue] = {
        "Image": command.partition(" ")[0],
        "CommandLine": command.rpartition("/bin/")[2] if at % 2 else command,
        "ParentImage": parent,
        "ParentCommandLine": f"{parent} --worker {draw.randrange(50)}",
        "User": draw.choice(("root", "deploy", "www-data")),
        "CurrentDirectory": draw.choice(("/", "/root", "/srv/app", "/var/lib/app")),
        "Hashes": f"SHA256={at % 3000:064X}",
        "ProcessId": 1000 + at,
    }
    return SigmaEvent((_PROCESS,), fields)


_WINDOWS_KINDS: Final = (
    *["process_creation"] * 8,
    *["registry_set"] * 4,
    *["image_load"] * 3,
    *["file_event"] * 2,
    *["network_connection"] * 2,
    "dns_query",
)


def a_windows_event(at: int, draw: random.Random) -> SigmaEvent:
    """Return an ordinary event of Sysmon for Windows."""
    kind = _WINDOWS_KINDS[at % len(_WINDOWS_KINDS)]
    image = f"C:\\Program Files\\Vendor\\App\\tool{draw.randrange(300)}.exe"
    fields: dict[str, FieldValue] = {
        "EventID": 1,
        "Image": image,
        "User": f"CORP\\user{draw.randrange(40)}",
        "ProcessId": at,
        "UtcTime": "2026-01-01 00:00:00.000",
        "CommandLine": f'"{image}" --profile {draw.randrange(500)} --quiet',
        "ParentImage": "C:\\Windows\\explorer.exe",
        "ParentCommandLine": "C:\\Windows\\Explorer.EXE",
        "CurrentDirectory": f"C:\\Users\\user{draw.randrange(40)}\\",
        "OriginalFileName": "tool.exe",
        "IntegrityLevel": "Medium",
        "Company": "Vendor",
        "Description": "A tool",
        "Product": "App",
        "Hashes": f"MD5={at:032X},SHA256={at:064X}",
        "TargetObject": f"HKU\\S-1-5-21\\Software\\Vendor\\Key{draw.randrange(900)}",
        "Details": f"DWORD (0x{draw.randrange(99):08x})",
        "ImageLoaded": f"C:\\Windows\\System32\\lib{draw.randrange(400)}.dll",
        "TargetFilename": f"C:\\Users\\user\\AppData\\Local\\Temp\\{draw.randrange(2000)}.tmp",
        "DestinationIp": f"192.0.2.{draw.randrange(255)}",
        "DestinationPort": 443,
        "QueryName": f"host{draw.randrange(2000)}.example.com",
    }
    return SigmaEvent((RuleSource(_WINDOWS, kind, "sysmon"),), fields)


def mixed(rules: RuleSet, count: int, product: str, every: int) -> list[SigmaEvent]:
    """Return ordinary events of a product, and one of ``every`` made around a rule for it."""
    draw = random.Random(11)
    near = [rule for rule in rules.rules if rule.source.product in {"", product}] or rules.rules
    ordinary = a_windows_event if product == _WINDOWS else a_process
    events = []
    for at in range(count):
        event = ordinary(at, draw)
        events.append(meeting(draw.choice(near), rules, event) if at % every == 0 else event)
    return events


def meeting(rule: DetectionRule, rules: RuleSet, base: SigmaEvent) -> SigmaEvent:
    """Return an event with what a rule looks for; not all such events meet the rule."""
    node = normal(rule.condition, lambda _: True)
    fields: dict[str, FieldValue] = {}
    for leaf in _some(node) if node is not None else ():
        if not leaf.negated:
            _put(rules.predicates[leaf.place], fields)
    product, category, service = rule.source.product, rule.source.category, rule.source.service
    if not service:
        # Whatever has a category was seen by the recorder of the ordinary events.
        category, service = category or base.sources[0].category, base.sources[0].service
    source = RuleSource(product or base.sources[0].product, category, service)
    return SigmaEvent((source,), {**base.fields, **fields})


def _some(node: Node) -> Iterator[Leaf]:
    """Yield the leaves that make a condition true: all of some branch of each."""
    if isinstance(node, Leaf):
        yield node
    else:
        for arg in node.args if node.is_all else node.args[:1]:
            yield from _some(arg)


def _put(predicate: Predicate, fields: dict[str, FieldValue]) -> None:
    field = predicate.field or "message"
    value = predicate.values[0] if predicate.values else None
    if predicate.op in {Operator.NULL, Operator.EXISTS}:
        fields[field] = None if predicate.op is Operator.NULL else "there"
    elif not isinstance(value, str) or predicate.op is Operator.EQUALS:
        fields[field] = value
    elif predicate.op is Operator.STARTSWITH:
        fields[field] = f"{value}{fields.get(field, '')}"
    elif predicate.op is Operator.ENDSWITH:
        fields[field] = f"{fields.get(field, '')}{value}"
    else:
        fields[field] = f"{value.replace('*', '')} {fields.get(field, '')}"


if __name__ == "__main__":
    print(json.dumps(judge_mix(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
