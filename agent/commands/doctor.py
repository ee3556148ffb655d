"""``doctor``: what each sensor sees and misses on this host, tried out.

Every enabled sensor is started as the daemon would start it, with the daemon's user and
capabilities where that can be had, over a state of its own. After its first look something harmless
is done on purpose (`agent.commands.canaries`), and the sensor has to see it.
"""

import argparse
import contextlib
import os
import select
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, structs

from agent.commands.canaries import LOGS, LOOKS, Canary, Step, canary_for
from agent.commands.common import add_json, print_rows, say, settings_of
from agent.commands.daemonsays import DaemonWord, daemon_words
from agent.commands.once import NOBODY, SLICE_MS
from agent.config import AgentSettings
from agent.hostroot import HostFileError, HostRoot
from agent.layout import Owners, owners
from agent.privileges import become, held
from agent.sense import wiring
from agent.sense.ports import Sensor, SensorHealth
from agent.sense.profiles import PROFILES, WIDENS, Profile, how_to_grant, missing, reach_of
from agent.sense.sensors.table import SENSORS, SensorPlace
from proto.model import HealthState, Split
from runtime.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock, boot_id

COLUMNS = ("sensor", "state", "rung", "canary", "reason")
LOOK_S = 5
CANARY_S = 8
_SPOKEN_TO = frozenset({"dns"})
_BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id"
_BOOT_ID_BYTES_MAX = 64

Progress = Callable[[str], None]


class Tried(Struct, frozen=True):
    """What became of a canary.

    Args:
        text: in words.
        unseen: what was done and not seen; empty when all was, or nothing was tried.
        latency_ms: of the slowest of its steps.
    """

    text: str
    unseen: str = ""
    latency_ms: float | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Try each sensor out and print its state; exit 3 when one is not ok.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
    """
    settings = settings_of(args)
    owned, _ = owners(settings.privileges)
    profile = PROFILES[settings.sense.profile]
    words = daemon_words(settings)
    _be_the_daemon(owned, profile)
    found = [said_by(words.get(str(row["sensor"])), row) for row in examine(settings, _progress)]
    _progress("")
    print_rows(found, COLUMNS, as_json=args.json)
    _advise(found, profile)
    return 0 if all(row["state"] == HealthState.OK.value for row in found) else 3


def _be_the_daemon(owned: Owners, profile: Profile) -> None:
    """See with the eyes of `sense`, not with those of root."""
    if owned.split is Split.USERS and os.geteuid() == 0:
        become(str(owned.sense_uid), str(owned.ship_gid), profile.needs)


def examine(
    settings: AgentSettings, progress: Progress = lambda _: None
) -> Iterator[dict[str, object]]:
    """Yield one row a sensor, with what it can and cannot see here.

    Args:
        settings: of the agent.
        progress: told the name of each sensor before it is tried.
    """
    clock = SystemClock()
    owned, _ = owners(settings.privileges)
    with tempfile.TemporaryDirectory(prefix="vedette-doctor-") as scratch:
        # A scratch state: trying out must not disturb what the daemon has told, nor its doors.
        paths = structs.replace(settings.paths, state=scratch, run=scratch)
        Path(paths.sense).mkdir(mode=0o700)
        site = wiring.Site(paths, owned, clock)
        for name in wiring.build_sensors(settings.sense, site, NOBODY):
            progress(name)
            yield _Trial(name, settings, site, Path(scratch)).row()


class _Trial:
    """One sensor, its first look and its canary."""

    def __init__(
        self, name: str, settings: AgentSettings, site: wiring.Site, scratch: Path
    ) -> None:
        self._name = name
        self._settings = settings
        self._site = site
        self._clock = site.clock
        self._folder = scratch / f"canary-{name}"
        self._folder.mkdir()

    def row(self) -> dict[str, object]:
        began = time.thread_time_ns()
        row = self._tried_row()
        return row | {"cpu_ms": round((time.thread_time_ns() - began) / NS_PER_MS, 1)}

    def _tried_row(self) -> dict[str, object]:
        section = getattr(self._settings.sense.sensors, self._name)
        try:
            with canary_for(self._name, section, self._folder) as canary:
                sensor, health, tried = self._try(canary)
        except OSError as error:
            tried = Tried(f"not tried: {error.strerror or error}")
            sensor, health = self._first_look()
        profile = PROFILES[self._settings.sense.profile]
        row = _row(sensor, health, tried, profile) | {"sensor": self._name}
        age_s = self._source_age_s(section)
        if age_s is not None:
            row |= {"source_age_s": age_s, "canary": f"{row['canary']}; log {age_s} s old"}
        return row

    def _source_age_s(self, section: object) -> int | None:
        """Return how long ago the newest of the sensor's own logs was written."""
        paths = LOGS[self._name](section) if self._name in LOGS else ()
        newest = 0
        with HostRoot(self._site.paths.host_root) as host:
            for path in paths:
                with contextlib.suppress(HostFileError):
                    newest = max(newest, host.stat(path).st_mtime_ns)
        return max(0, self._clock.wall_ns() - newest) // NS_PER_S if newest else None

    def _try(self, canary: Canary | None) -> tuple[Sensor, SensorHealth, Tried]:
        if canary is None:
            return (*self._first_look(), Tried("first look only"))
        if canary.root is not None:
            # How the host's own sources are is one thing, whether anything is seen another.
            sensor, health = self._first_look()
            scratch = self._started(canary)
            tried = _watch(scratch, canary.steps(), self._clock)
            scratch.stop()
            return sensor, health, tried
        if not _is_this_machine(self._site.paths.host_root):
            text = "not tried: what lies at host_root is not this machine"
            return (*self._first_look(), Tried(text))
        sensor = self._started(canary)
        tried = _watch(sensor, canary.steps(), self._clock)
        health = sensor.health()
        sensor.stop()
        return sensor, health, tried

    def _first_look(self) -> tuple[Sensor, SensorHealth]:
        """Start the sensor as configured and let it look once."""
        sections = self._settings.sense.sensors
        section = LOOKS.get(self._name, lambda same: same)(getattr(sections, self._name))
        only = structs.replace(sections, enabled=(self._name,), **{self._name: section})
        sense = structs.replace(self._settings.sense, sensors=only)
        sensor = wiring.build_sensors(sense, self._site, NOBODY)[self._name]
        sensor.start(b"")
        _settle(sensor, self._clock)
        health = sensor.health()
        sensor.stop()
        return sensor, health

    def _started(self, canary: Canary) -> Sensor:
        state = self._folder / "state"
        state.mkdir()
        root = self._site.paths.host_root if canary.root is None else str(canary.root)
        place = SensorPlace(HostRoot(root), self._clock, state)
        sensor = SENSORS[self._name](canary.section, place)
        sensor.start(b"")
        _settle(sensor, self._clock)
        return sensor


def _row(sensor: Sensor, health: SensorHealth, tried: Tried, profile: Profile) -> dict[str, object]:
    state, reason = health.state, health.reason
    if tried.unseen:
        # It says that it sees, and it does not.
        state = HealthState.BLIND
        reason = "; ".join(filter(None, (f"{tried.unseen} was not seen in {CANARY_S} s", reason)))
    mine = held()
    lacks = [cap for cap in WIDENS.get(sensor.spec.name, ()) if cap not in mine]
    # First what the profile promises; another profile only where that is not it.
    wanted = [cap for cap in lacks if cap in profile.needs] or lacks
    is_ok = state is HealthState.OK
    return {
        "sensor": sensor.spec.name,
        "state": state.value,
        "reason": "" if is_ok else reason or "it does not say why",
        "notes": reason if is_ok else "",
        "rung": health.rung,
        "canary": tried.text,
        "canary_ms": tried.latency_ms,
        "missing": [] if is_ok else lacks,
        "grant": "" if is_ok else how_to_grant(wanted),
        "profile": profile.name,
        "reach": reach_of(profile.name, sensor.spec.name),
        "source": sensor.spec.source,
        "coverage": sensor.spec.coverage,
        "misses": sensor.spec.misses,
        "privilege": sensor.spec.privilege,
        "cost": sensor.spec.cost,
    }


def _watch(sensor: Sensor, steps: Sequence[Step], clock: Clock) -> Tried:
    """Do one thing after another, and wait for the sensor to tell of each."""
    slowest = 0
    for step in steps:
        began = clock.boot_ns()
        try:
            step.fire()
        except OSError as error:
            return Tried(f"not tried: {step.what}: {error.strerror or error}")
        if not _is_seen(sensor, step, began + CANARY_S * NS_PER_S, clock):
            return Tried(f"{step.what} not seen", step.what)
        slowest = max(slowest, clock.boot_ns() - began)
    ms = round(slowest / NS_PER_MS, 1)
    return Tried(f"seen in {ms:g} ms", latency_ms=ms)


def _is_seen(sensor: Sensor, step: Step, end: int, clock: Clock) -> bool:
    while (now := clock.boot_ns()) < end:
        due = sensor.due()
        until = end if due is None else max(now, min(due, end))
        # A tenth of a second at most: a sensor may be due earlier than it said.
        wait_s = min((until - now) / NS_PER_S, 0.1)
        select.select(sensor.descriptors(), (), (), wait_s)
        sightings = sensor.poll(clock.boot_ns() + SLICE_MS * NS_PER_MS)
        if any(step.is_echo(sighting) for sighting in sightings):
            return True
    return False


def _settle(sensor: Sensor, clock: Clock) -> None:
    """Let a sensor finish its first look, or as much of it as a person waits for."""
    end = clock.boot_ns() + LOOK_S * NS_PER_S
    while clock.boot_ns() < end:
        sensor.poll(clock.boot_ns() + SLICE_MS * NS_PER_MS)
        due = sensor.due()
        if due is None or due > clock.boot_ns():
            return


def _is_this_machine(host_root: str) -> bool:
    """Whether what is done here happens on the host that is looked at."""
    try:
        with HostRoot(host_root) as host:
            told = host.read_bytes(_BOOT_ID_PATH, _BOOT_ID_BYTES_MAX)
    except HostFileError:
        return False
    return told.strip().replace(b"-", b"").decode("ascii", "replace") == boot_id().hex()


def said_by(word: DaemonWord | None, row: Mapping[str, object]) -> dict[str, object]:
    """Return a row with what the running daemon last sealed of this sensor.

    Of a sensor that is spoken to at the daemon's own door, nobody else can tell how it is.
    """
    if word is None:
        return dict(row)
    told: dict[str, object] = {"daemon": structs.asdict(word)}
    if row["sensor"] in _SPOKEN_TO:
        told |= {"state": word.state, "rung": word.rung, "canary": "not tried: as the daemon says"}
        if word.state == HealthState.OK.value:
            told |= {"reason": "", "missing": [], "grant": ""}
    return {**row, **told}


def _progress(name: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[Ktrying {name}" if name else "\r\x1b[K")
        sys.stderr.flush()


def _advise(rows: Sequence[Mapping[str, object]], profile: Profile) -> None:
    """Tell a person what to do, on standard error."""
    lacks = missing(profile, held())
    short = f"; this process lacks {', '.join(lacks)}" if lacks else ""
    say(f"profile {profile.name}: {', '.join(profile.needs) or 'no capability'}{short}")
    for grant in dict.fromkeys(str(row["grant"]) for row in rows if row["grant"]):
        say(f"to see more: {grant}")
    for row in rows:
        if row.get("notes"):
            say(f"{row['sensor']}: {row['notes']}")
        word = row.get("daemon")
        if isinstance(word, dict):
            say(
                f"the running daemon says: {row['sensor']} {word['state']}, rung {word['rung']},"
                f" last success {word['last_success_age_s']} s ago, {word['dropped']} dropped"
            )
