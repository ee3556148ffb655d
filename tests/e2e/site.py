"""A collector and an agent as real processes on loopback, in a directory of their own."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from proto import codec
from proto.model import Audit, Drop, Header
from vedette.demo.hec import HecReceiver

COMMAND_WAIT_S_MAX = 60
STEP_WAIT_S_MAX = 45
STOP_WAIT_S_MAX = 30
TENANT = "acme"
MODULES = {"vedette": "vedette", "vedette-agent": "agent", "vedette-collector": "collector"}
# Users that need no entry in the password file: what counts is that they differ.
SENSE_UID, SHIP_UID = 64201, 64202
# In two halves, so that this file is not the EICAR test file.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-" + rb"ANTIVIRUS-TEST-FILE!$H+H*"
EICAR_SHA256 = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"


class Done(Struct, frozen=True):
    """A command that has ended."""

    code: int
    out: str
    err: str

    def rows(self) -> list[dict[str, Any]]:
        """Its JSON Lines, when it went well."""
        assert self.code == 0, self.err
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]


class Batch(Struct, frozen=True):
    """One line of the ledger."""

    position: int
    agent: bytes
    epoch: bytes
    seq: int
    header: Header


class Site:
    """Where everything of one test lies.

    Args:
        root: an existing directory that every user may enter.
        python: the interpreter that runs our programs.
        before: what stands before each command line, such as a change of user.
    """

    def __init__(
        self, root: Path, python: str = sys.executable, before: Sequence[str] = ()
    ) -> None:
        self.root = root
        self.python = python
        self.before = tuple(before)
        self.collector_state = root / "collector"
        self.agent_state = root / "agent"
        self.watched = root / "watched"
        self.feeds = root / "feeds"
        self.auth_log = root / "auth.log"
        self.logs = root / "logs"
        names = ("intake", "enrollment", "console", "metrics")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        # Where the agent believes the intake to be: a test may put something in between.
        self.intake_port = self.ports["intake"]
        self.hec_token = secrets.token_hex(16)
        self.hec = HecReceiver(self.hec_token)
        self.agent_env: dict[str, str] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        for directory in (self.watched, self.feeds, self.logs):
            directory.mkdir(mode=0o755)
        self.auth_log.touch()

    # -- set-up ----------------------------------------------------------------------------------

    @property
    def collector_config(self) -> Path:
        """The collector's configuration file."""
        return self.root / "collector.toml"

    @property
    def agent_config(self) -> Path:
        """The agent's configuration file."""
        return self.root / "agent.toml"

    def start_collector(self) -> None:
        """Set a collector up, unless that was done before, and start it."""
        if not self.collector_config.exists():
            self._init_collector()
        self.start("collector", "vedette-collector", "run", "--config", str(self.collector_config))
        self.wait("the collector's start", self.is_listening)

    def _init_collector(self) -> None:
        intel = f"kind,value,family\nsha256,{EICAR_SHA256},EICAR test file\n"
        (self.feeds / "lists.csv").write_text(intel)
        token = self.root / "hec-token"
        token.write_text(self.hec_token)
        token.chmod(0o600)
        values = {**self.ports, "site": self, "hec": self.hec.url}
        self.collector_config.write_text(_COLLECTOR.format(**values))
        offline = str(self.root / "offline-keys")
        done = self.collector("init", "--tenant", TENANT, "--offline-keys", offline, tenant=False)
        assert done.code == 0, done.err

    def start_agent(self) -> None:
        """Enrol an agent, unless that was done before, and start it."""
        if not self.agent_config.exists():
            self.write_agent_config()
            done = self.enroll(self.token())
            assert done.code == 0, done.err
        before = len(self.told("sensing"))
        self.start("agent", "vedette-agent", "run", "--config", str(self.agent_config))
        self.wait("the agent's start", lambda: len(self.told("sensing")) > before)

    def write_agent_config(self) -> None:
        """Write a configuration that seals within half a second."""
        values = {**self.ports, "site": self, "sense": SENSE_UID, "ship": SHIP_UID}
        self.agent_config.write_text(_AGENT.format(**values))

    def token(self, *words: str) -> str:
        """Mint a join token."""
        done = self.collector("token", *words)
        assert done.code == 0, done.err
        return done.out

    def enroll(self, token: str, at: "Site | None" = None) -> Done:
        """Trade a token for an identity, at this site's collector or another's."""
        there = at or self
        return self.agent(
            "enroll",
            f"127.0.0.1:{there.ports['enrollment']}",
            "--intake",
            f"127.0.0.1:{there.intake_port}",
            stdin=token,
        )

    # -- commands --------------------------------------------------------------------------------

    def collector(self, *words: str, tenant: bool = True) -> Done:
        """Run a command of the collector."""
        which = ("--tenant", TENANT) if tenant else ()
        config = ("--config", str(self.collector_config))
        return self.command("vedette-collector", *words, *config, *which)

    def agent(self, *words: str, stdin: str = "") -> Done:
        """Run a command of the agent."""
        config = ("--config", str(self.agent_config))
        return self.command("vedette-agent", *words, *config, stdin=stdin)

    def command(self, program: str, *words: str, stdin: str = "") -> Done:
        """Run one of our programs to its end."""
        done = subprocess.run(
            self.argv(program, *words),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_WAIT_S_MAX,
            check=False,
            cwd=self.root,
            env=self._env(program),
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def argv(self, program: str, *words: str) -> tuple[str, ...]:
        """Return the command line of one of our programs."""
        return (*self.before, self.python, "-P", "-m", MODULES[program], *words)

    def _env(self, program: str) -> Mapping[str, str]:
        more = self.agent_env if program == "vedette-agent" else {}
        return {**os.environ, **more}

    # -- processes -------------------------------------------------------------------------------

    def start(self, name: str, program: str, *words: str) -> None:
        """Start a daemon; its output goes to a log file."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(
                self.argv(program, *words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.root,
                env=self._env(program),
            )

    def stop(self, name: str) -> int:
        """End a daemon in an orderly way and return its exit code."""
        child = self._children.pop(name)
        child.terminate()
        return self._reap(child)

    def kill(self, name: str) -> None:
        """End a supervisor by kill -9; what it started dies with it."""
        child = self._children.pop(name)
        child.kill()
        self._reap(child)

    def exit_of(self, name: str) -> int | None:
        """Return the exit code of a daemon that has ended by itself."""
        return self._children[name].poll()

    def _reap(self, child: "subprocess.Popen[bytes]") -> int:
        try:
            return child.wait(STOP_WAIT_S_MAX)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()

    def pids(self, role: str) -> list[int]:
        """Return every process id that a supervisor has reported for a role, oldest first."""
        started = (one for one in self.told("program started") if one["name"] == role)
        return [int(one["pid"]) for one in started]

    def told(self, message: str, daemon: str = "") -> list[dict[str, Any]]:
        """Return the log lines of a message."""
        found = []
        for path in [self.logs / f"{daemon}.log"] if daemon else sorted(self.logs.iterdir()):
            for line in path.read_bytes().splitlines():
                if message.encode() in line:
                    with contextlib.suppress(ValueError):
                        found.append(json.loads(line))
        return [one for one in found if one["message"] == message]

    def stop_all(self) -> None:
        """End whatever still runs, the newest first."""
        for name in reversed(list(self._children)):
            self.stop(name)

    def close(self) -> None:
        """End whatever still runs and stop listening."""
        self.stop_all()
        self.hec.close()

    # -- questions -------------------------------------------------------------------------------

    def is_listening(self) -> bool:
        """Return whether the intake takes connections."""
        return can_connect(self.ports["intake"])

    def readiness(self) -> int:
        """Return the status of the collector's own answer, 0 where there is none."""
        url = f"http://127.0.0.1:{self.ports['console']}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def wait(
        self, what: str, condition: Callable[[], object], timeout_s: float = STEP_WAIT_S_MAX
    ) -> float:
        """Wait until a condition holds and return how long that took, in seconds."""
        began = time.monotonic()
        while not condition():
            for name, child in self._children.items():
                assert child.poll() is None, f"{name} ended: {self.tail(name)}"
            assert time.monotonic() - began < timeout_s, f"{what}: not within {timeout_s} s"
            time.sleep(0.02)
        return time.monotonic() - began

    def tail(self, name: str) -> str:
        """Return the last words of a daemon."""
        return (self.logs / f"{name}.log").read_text(errors="replace")[-2000:]

    def findings(self, rule: str) -> list[dict[str, Any]]:
        """Return all findings of a rule that the collector lists."""
        return self.collector("findings", "--json", "--rule", rule, "--limit", "100000").rows()

    def owed(self) -> int:
        """Return how many batches the agent says are without a receipt."""
        return int(json.loads(self.agent("status", "--json").out)["batches_owed"])

    def outbox(self) -> set[tuple[str, int]]:
        """Return every batch that the agent sealed, by epoch and number."""
        return {(row["epoch"], row["seq"]) for row in self.agent("outbox", "ls", "--json").rows()}

    def ledger(self) -> list[tuple[str, str, int]]:
        """Return every batch that the collector lists, by agent, epoch and number."""
        rows = self.collector("ledger", "ls", "--json").rows()
        return [(row["agent"], row["epoch"], row["seq"]) for row in rows]

    def batches(self, after: int = 0) -> list[Batch]:
        """Return the agents' batches in the ledger's file, behind a position."""
        query = (
            "SELECT position, agent, epoch, seq, header FROM batches JOIN chains USING (chain)"
            " JOIN agents USING (agent) WHERE position > ? AND NOT is_own ORDER BY position"
        )
        rows = self.query("ledger", query, after)
        return [Batch(p, a, e, s, codec.decode_header(h)) for p, a, e, s, h in rows]

    def query(self, name: str, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Read one of the tenant's files; nothing while it is not there."""
        for path in (self.collector_state / "tenants").glob(f"*/{name}.db"):
            with (
                contextlib.suppress(sqlite3.OperationalError),
                contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db,
            ):
                return db.execute(query, values).fetchall()
        return []

    def drops(self) -> list[Drop]:
        """Return every statement of a loss that the index has."""
        return [msgspec.json.decode(body, type=Drop) for body in self._events("drop")]

    def audits(self) -> list[Audit]:
        """Return every statement of an act that the index has."""
        return [msgspec.json.decode(body, type=Audit) for body in self._events("audit")]

    def _events(self, kind: str) -> list[bytes]:
        rows = self.query("index", "SELECT body FROM events WHERE type = ? ORDER BY id", kind)
        return [body for (body,) in rows]

    def has_finding(self, rule: str, text: str) -> bool:
        """Return whether a finding of a rule that holds some text is indexed."""
        query = "SELECT 1 FROM findings WHERE rule = ? AND instr(body, ?) LIMIT 1"
        return bool(self.query("index", query, rule, text))

    def all_taken(self) -> bool:
        """Return whether everything that was sealed is in the ledger."""
        there = {(epoch, seq) for _, epoch, seq in self.ledger()}
        return self.outbox() <= there

    def is_settled(self) -> bool:
        """Return whether everything in the ledger was indexed, and forwarded where due."""
        top = self.query("ledger", "SELECT max(position) FROM batches")
        if top != self.query("index", "SELECT position FROM cursor"):
            return False
        (sink,) = self.collector("sinks", "ls", "--json").rows()
        return sink.get("lag_batches") == 0


def can_connect(port: int) -> bool:
    """Return whether somebody listens on a port of loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that are free now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextlib.contextmanager
def a_site(python: str = sys.executable, before: Sequence[str] = ()) -> Iterator[Site]:
    """Make a site and take it down again; VEDETTE_KEEP leaves its files behind."""
    root = Path(tempfile.mkdtemp(prefix="vedette-e2e-"))
    # The halves of the agent are other users when root runs the tests.
    root.chmod(0o755)
    site = Site(root, python, before)
    try:
        yield site
    finally:
        site.close()
        for log in sorted(site.logs.iterdir()):
            sys.stdout.write(f"--- {log.name}\n{log.read_text(errors='replace')[-6000:]}\n")
        if "VEDETTE_KEEP" not in os.environ:
            shutil.rmtree(root, ignore_errors=True)


_COLLECTOR = """\
[paths]
state = "{site.collector_state}"

[trust]
domain = "acme.test"
server_names = ["127.0.0.1"]

[gateway]
intake_address = "127.0.0.1:{intake}"
enrollment_address = "127.0.0.1:{enrollment}"

[console]
address = "127.0.0.1:{console}"

[feeds]
interval_s = 3600
lists = "{site.feeds}"

[[feeds.sources]]
name = "lists"
path = "lists.csv"
format = "csv"
confidence = 90
warninglists = "annotate"

[[forward]]
name = "hec"
type = "splunk_hec"
url = "{hec}"
token_file = "{site.root}/hec-token"
patience = {{ retry_wait_s_max = 2 }}
"""

_AGENT = """\
[paths]
state = "{site.agent_state}"
run = "{site.agent_state}/run"

[privileges]
sense_user = "{sense}"
ship_user = "{ship}"
ship_group = "{ship}"

[metrics]
port = {metrics}

[uplink]
retry_wait_s_first = 0.2
retry_wait_s_max = 1

[sense.sealing]
medium_wait_ms_max = 500
low_wait_ms_max = 500
low_wait_offline_ms_max = 500
heartbeat_s = 5

[sense.sensors.files]
trees = [{{ path = "{site.watched}" }}]

[sense.sensors.authlog]
paths = ["{site.auth_log}"]

[sense.content]
refresh_interval_s_min = 1
"""
