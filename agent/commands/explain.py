"""``explain``: why an observation is a finding, or is none."""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import structs

from agent.commands.common import add_json, print_rows, settings_of
from agent.commands.match import open_index
from agent.commands.once import NOBODY, once
from agent.commands.recorded import NoObservation, recorded_observation
from agent.config import AgentSettings
from agent.hostroot import HostRoot
from agent.sense.contentstore import NO_INDICATORS, accepted_bundle
from agent.sense.match.context import MatchContext
from agent.sense.match.explain import Reason, explain, explain_value
from agent.sense.sensors.filetrees import Tree
from agent.sense.sensors.table import SENSORS, SensorPlace
from proto.content.index import IndicatorIndex
from proto.content.kinds import IndicatorKind
from proto.model import Observation, ObservationKind, Process
from runtime.clock import NS_PER_S, Clock, SystemClock
from runtime.errors import Fault, VedetteError

COLUMNS = ("judge", "outcome", "value", "form", "why")
LOOK_S = 30
INPUT_CHARS_MAX = 1024 * 1024
_LOG: Final = "/explain.log"


class NothingToExplain(VedetteError):
    """What was given is no observation, or what was named is not on this host."""

    fault = Fault.OPERATOR
    exit_code = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--event", metavar="FILE", help="an observation as JSON; - for standard input"
    )
    what.add_argument("--process", type=int, metavar="PID", help="a process that runs now")
    what.add_argument("--file", metavar="PATH", help="a file, as the file sensor sees it")
    what.add_argument("--login", metavar="LINE", help="a line of an authentication log")
    what.add_argument("--value", help="a value; --kind says of which kind")
    parser.add_argument("--kind", choices=[kind.value for kind in IndicatorKind], help="of --value")
    parser.add_argument(
        "--index",
        type=Path,
        metavar="FILE",
        help="indicators of this .vdx file (default: those the agent has accepted)",
    )
    parser.set_defaults(usage_error=parser.error)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print one step a line; exit 3 when there is a finding, or a match of a value.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
        ContentError: the index is not one.
        NothingToExplain: no observation was given or found.
        OSError: a file cannot be read.
    """
    settings = settings_of(args)
    clock = SystemClock()
    index = _index(settings, args.index)
    context = MatchContext(NOBODY.tenant.bytes, NOBODY.agent.bytes, index, None, clock.wall_ns())
    if args.value is not None:
        if args.kind is None:
            args.usage_error("--value needs --kind")
        reasons = explain_value(IndicatorKind(args.kind), args.value, context)
    else:
        reasons = explain(_observation(args, settings, clock), context)
    print_rows(map(_row, reasons), COLUMNS, as_json=args.json)
    is_found = any(reason.outcome in {"finding", "match", "signal"} for reason in reasons)
    return 3 if is_found else 0


def _row(reason: Reason) -> Mapping[str, object]:
    return structs.asdict(reason)


def _index(settings: AgentSettings, named: Path | None) -> IndicatorIndex:
    path = named or accepted_bundle(Path(settings.paths.sense) / "content")
    return NO_INDICATORS if path is None else open_index(path)


def _observation(args: argparse.Namespace, settings: AgentSettings, clock: Clock) -> Observation:
    if args.event is not None:
        return decoded(_text(args.event))
    with tempfile.TemporaryDirectory(prefix="vedette-explain-") as folder:
        scratch = Path(folder)
        if args.login is not None:
            return _logged(args.login, settings, scratch, clock)
        if args.process is not None:
            return _running(args.process, settings, scratch, clock)
        return _lying(args.file, settings, scratch, clock)


def _running(pid: int, settings: AgentSettings, scratch: Path, clock: Clock) -> Observation:
    """Return what the process sensor tells of a process.

    Raises:
        NothingToExplain: there is none of this number.
    """
    found = _seen("processes", settings.sense.sensors.processes, settings, scratch, clock)
    observation = next((o for o in found if _pid(o) == pid), None)
    if observation is None:
        raise NothingToExplain(f"there is no process {pid} here")
    return observation


def _lying(path: str, settings: AgentSettings, scratch: Path, clock: Clock) -> Observation:
    """Return what the file sensor tells of a file.

    Raises:
        NothingToExplain: there is none at this path, or it may not be read.
    """
    section = structs.replace(settings.sense.sensors.files, trees=(Tree(path),))
    try:
        msgspec.convert(msgspec.to_builtins(section), type(section))
    except msgspec.ValidationError as error:
        raise NothingToExplain(f"{path}: {error}") from error
    found = _seen("files", section, settings, scratch, clock)
    if not found:
        raise NothingToExplain(f"there is no file {path} here that may be read")
    return found[0]


def _logged(line: str, settings: AgentSettings, scratch: Path, clock: Clock) -> Observation:
    """Return what the log sensor makes of a line.

    Raises:
        NothingToExplain: nothing.
    """
    (scratch / _LOG.lstrip("/")).write_text(line.rstrip("\n") + "\n", "utf-8")
    section = structs.replace(settings.sense.sensors.authlog, paths=(_LOG,))
    found = _seen("authlog", section, settings, scratch, clock, root=scratch)
    logins = [o for o in found if o.kind is ObservationKind.LOGIN]
    if not logins:
        raise NothingToExplain(
            "the line tells of no login",
            hint="known are the lines of sshd, sudo, su, login and PAM, with stamp and host",
        )
    return logins[0]


def _seen(  # noqa: PLR0913  (a place and a sensor; used here alone)
    name: str,
    section: object,
    settings: AgentSettings,
    scratch: Path,
    clock: Clock,
    *,
    root: Path | None = None,
) -> list[Observation]:
    """Return what a sensor tells in one pass."""
    state = scratch / "state"
    state.mkdir()
    with HostRoot(str(root or settings.paths.host_root)) as host:
        sensor = SENSORS[name](section, SensorPlace(host, clock, state))
        sightings = list(once(sensor, clock, clock.boot_ns() + LOOK_S * NS_PER_S))
    return [sighting for sighting in sightings if isinstance(sighting, Observation)]


def _pid(observation: Observation) -> int:
    thing = observation.subject.value
    return thing.pid if isinstance(thing, Process) else -1


def _text(name: str) -> str:
    if name == "-":
        return sys.stdin.read(INPUT_CHARS_MAX)
    with Path(name).open(encoding="utf-8", errors="replace") as file:
        return file.read(INPUT_CHARS_MAX)


def decoded(text: str) -> Observation:
    """Return the observation that JSON holds: names and words of the model, bytes in hexadecimal.

    Raises:
        NothingToExplain: it holds none.
    """
    try:
        return recorded_observation(text)
    except NoObservation as error:
        raise NothingToExplain(error.message, hint=error.hint) from error
