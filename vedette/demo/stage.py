"""The stage of the demo: a directory, free ports, configuration files and child processes."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from runtime.errors import VedetteError

COMMAND_TIMEOUT_S = 60
STOP_WAIT_S = 20
# Users that need no entry in the password file: what counts is that they differ.
SENSE_USER, SHIP_USER = "64101", "64102"


class DemoFailed(VedetteError):
    """Something the demo relies on did not happen."""

    exit_code: ClassVar[int] = 1


class Stage:
    """Everything the demo starts and leaves behind.

    Args:
        root: an empty directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.collector_state = root / "collector"
        self.agent_state = root / "agent"
        self.watched = root / "watched"
        self.feeds = root / "feeds"
        self.auth_log = root / "auth.log"
        self.logs = root / "logs"
        self.offline = root / "offline-keys"
        self.hec_token = secrets.token_hex(16)
        self.ports = dict(
            zip(("intake", "enrollment", "console", "metrics"), _ports(4), strict=True)
        )
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        for directory in (self.watched, self.feeds, self.logs):
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.auth_log.touch()

    # -- configuration ---------------------------------------------------------------------------

    @property
    def collector_config(self) -> Path:
        """The collector's configuration file."""
        return self.root / "collector.toml"

    @property
    def agent_config(self) -> Path:
        """The agent's configuration file."""
        return self.root / "agent.toml"

    def write_collector_config(self, hec_url: str) -> None:
        """Write a configuration on free loopback ports, with one HEC destination."""
        token = self.root / "hec-token"
        token.write_text(self.hec_token)
        token.chmod(0o600)
        self.collector_config.write_text(_COLLECTOR.format(stage=self, hec=hec_url, token=token))

    def write_agent_config(self) -> None:
        """Write a configuration that seals low priority within a second."""
        self.agent_config.write_text(_AGENT.format(stage=self, sense=SENSE_USER, ship=SHIP_USER))

    # -- processes -------------------------------------------------------------------------------

    def command(self, program: str, *words: str, stdin: str = "") -> str:
        """Run one of our commands to its end and return what it printed.

        Raises:
            DemoFailed: it failed, or took too long.
        """
        argv = [*_program(program), *words]
        try:
            done = subprocess.run(
                argv,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DemoFailed(f"{program} {words[0]} took over {COMMAND_TIMEOUT_S} s") from error
        if done.returncode not in {0, 3}:
            raise DemoFailed(
                f"{program} {' '.join(words[:2])} failed: {done.stderr.strip()[-500:]}",
                hint=f"logs are in {self.logs}; run with --keep DIR to look at them",
            )
        return done.stdout

    def rows(self, program: str, *words: str) -> list[dict[str, Any]]:
        """Run a command with ``--json`` and return its JSON Lines.

        Raises:
            DemoFailed: it failed, or printed something else.
        """
        out = self.command(program, *words, "--json")
        return [json.loads(line) for line in out.splitlines() if line.strip()]

    def ask(self, question: str) -> list[dict[str, Any]]:
        """Ask the collector's API, which costs no process; empty while it has no answer yet."""
        token = (self.collector_state / "api-token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['console']}/api/v1/{question}",
            headers={"Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310  (loopback)
                items: list[dict[str, Any]] = json.load(reply)["items"]
        except OSError:
            return []
        return items

    def start(self, name: str, program: str, *words: str) -> None:
        """Start a daemon; its output goes to a log file."""
        log = (self.logs / f"{name}.log").open("ab")
        with log:
            self._children[name] = subprocess.Popen(
                [*_program(program), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def pid(self, name: str) -> int:
        """Return the process id of a daemon that was started."""
        return self._children[name].pid

    def is_ready(self) -> bool:
        """Return whether the collector says that it can commit."""
        url = f"http://127.0.0.1:{self.ports['console']}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:
                return int(reply.status) == 200
        except OSError:
            return False

    def check_alive(self) -> None:
        """Raise if a daemon has ended.

        Raises:
            DemoFailed: names it and its last words.
        """
        for name, child in self._children.items():
            code = child.poll()
            if code is not None:
                tail = (self.logs / f"{name}.log").read_text(errors="replace")[-800:]
                raise DemoFailed(f"{name} ended with {code}: {tail}")

    def stop(self, name: str) -> None:
        """End a daemon in an orderly way, by its process id."""
        child = self._children.pop(name, None)
        if child is None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(STOP_WAIT_S)

    def stop_all(self) -> None:
        """End whatever still runs, the newest first."""
        for name in reversed(list(self._children)):
            self.stop(name)

    def remove(self) -> None:
        """Delete the directory."""
        shutil.rmtree(self.root, ignore_errors=True)


def wait_for(
    what: str, condition: Callable[[], bool], timeout_s: float, each: Callable[[], None]
) -> None:
    """Wait until a condition holds.

    Args:
        what: said when it does not.
        condition: asked several times a second.
        timeout_s: how long to wait.
        each: called between two looks; it may raise.

    Raises:
        DemoFailed: it did not hold in time.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        each()
        if time.monotonic() > end:
            raise DemoFailed(f"{what} did not happen within {timeout_s:.0f} s")
        time.sleep(0.2)


def _program(name: str) -> Sequence[str]:
    """Return how to start an installed program; beside this interpreter, or as a module."""
    installed = Path(sys.executable).with_name(name)
    if os.access(installed, os.X_OK):
        return (str(installed),)
    return (
        sys.executable,
        "-m",
        {"vedette-agent": "agent", "vedette": "vedette"}.get(name, "collector"),
    )


def _ports(count: int) -> list[int]:
    """Return ports of loopback that are free now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


_COLLECTOR = """\
[paths]
state = "{stage.collector_state}"

[trust]
domain = "demo.vedette.test"
server_names = ["127.0.0.1"]

[gateway]
intake_address = "127.0.0.1:{stage.ports[intake]}"
enrollment_address = "127.0.0.1:{stage.ports[enrollment]}"

[console]
address = "127.0.0.1:{stage.ports[console]}"

[feeds]
interval_s = 3600
lists = "{stage.feeds}"

[[feeds.sources]]
name = "demo"
path = "demo.csv"
format = "csv"
confidence = 90
warninglists = "annotate"

[[forward]]
name = "demo-hec"
type = "splunk_hec"
url = "{hec}"
token_file = "{token}"
"""

_AGENT = """\
[paths]
state = "{stage.agent_state}"
run = "{stage.agent_state}/run"

[privileges]
sense_user = "{sense}"
ship_user = "{ship}"
ship_group = "{ship}"

[metrics]
port = {stage.ports[metrics]}

[uplink]
retry_wait_s_max = 2

[sense.sealing]
low_wait_ms_max = 1000
low_wait_offline_ms_max = 1000

[sense.sensors.files]
trees = [{{ path = "{stage.watched}" }}]

[sense.sensors.authlog]
paths = ["{stage.auth_log}"]

[sense.sensors.sockets]
interval_s = 1

[sense.content]
refresh_interval_s_min = 1
"""
