"""``scan``: one pass over this host, without any collector and without sealing anything."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from msgspec import structs

from agent.commands.common import add_json, print_rows, say, settings_of
from agent.commands.match import open_index
from agent.commands.once import NOBODY, once
from agent.config import AgentSettings
from agent.layout import owners
from agent.sense import wiring
from agent.sense.contentstore import NO_INDICATORS
from agent.sense.match.context import MatchContext, Rules
from agent.sense.match.judge import judge
from agent.sense.redact import Redactor
from proto.content.index import IndicatorIndex
from proto.model import CheckState, Finding, Observation
from proto.rows import FINDING_COLUMNS, finding_row
from runtime.clock import NS_PER_S, SystemClock

SCAN_S_MAX = 120
# Of a key for one scan: what was taken out cannot be guessed at with a key that all know.
KEY_BYTES = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_json(parser)
    parser.add_argument(
        "--index", type=Path, metavar="FILE", help="match indicators of this .vdx file too"
    )
    parser.add_argument(
        "--rules",
        type=Path,
        metavar="PLACE",
        help="judge by this .vdr file too, or by Sigma rules where the collector is installed",
    )
    parser.add_argument(
        "--seconds", type=int, default=SCAN_S_MAX, help=f"at most so long (default {SCAN_S_MAX})"
    )


def run(args: argparse.Namespace) -> int:
    """Print findings as they are found; exit 3 when there are any.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
        ContentError: the index or the rules are none.
        NoRules: nothing here can compile the rules.
        OSError: the index or the rules cannot be read.
    """
    settings = settings_of(args)
    rules = _rules(args.rules) if args.rules is not None else None
    made = findings(settings, args.index, args.seconds, rules)
    found = (finding_row(finding) for finding in made)
    count = print_rows(found, FINDING_COLUMNS, as_json=args.json)
    say(f"{count} findings; nothing was sealed or sent")
    return 3 if count else 0


def findings(
    settings: AgentSettings, index: Path | None, seconds: int, rules: Rules | None = None
) -> Iterator[Finding]:
    """Yield what one pass over this host finds."""
    clock = SystemClock()
    owned, _ = owners(settings.privileges)
    redactor = Redactor(os.urandom(KEY_BYTES), settings.sense.redaction)
    context = MatchContext(
        NOBODY.tenant.bytes, NOBODY.agent.bytes, _index(index), None, clock.wall_ns(), rules
    )
    with tempfile.TemporaryDirectory(prefix="vedette-scan-") as scratch:
        paths = structs.replace(settings.paths, state=scratch, run=scratch)
        Path(paths.sense).mkdir(mode=0o700)
        site = wiring.Site(paths, owned, clock)
        end = clock.boot_ns() + seconds * NS_PER_S
        for name, sensor in wiring.build_sensors(settings.sense, site, NOBODY).items():
            _progress(name)
            for sighting in once(sensor, clock, end):
                for finding in _judged(sighting, context):
                    yield redactor.finding(finding)
    _progress("")


def _judged(sighting: object, context: MatchContext) -> tuple[Finding, ...]:
    if isinstance(sighting, Finding):
        return () if _is_quiet(sighting) else (sighting,)
    if not isinstance(sighting, Observation):
        return ()
    return judge(sighting, context)


def _is_quiet(finding: Finding) -> bool:
    """Whether a verdict is nothing to tell: `posture` lists those that passed."""
    quiet = (CheckState.PASS, CheckState.NOT_APPLICABLE)
    return finding.check is not None and finding.check.state in quiet


def _rules(place: Path) -> Rules:
    # Much to load, and for who asks for it.
    from agent.commands.rulesource import rules_at  # noqa: PLC0415
    from agent.sense.match.sigmafindings import RuleJudge  # noqa: PLC0415

    return RuleJudge(rules_at(place))


def _index(path: Path | None) -> IndicatorIndex:
    return NO_INDICATORS if path is None else open_index(path)


def _progress(name: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[Kscanning {name}" if name else "\r\x1b[K")
        sys.stderr.flush()
