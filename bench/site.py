"""A collector and one enrolled agent as real processes on loopback, for figures of whole daemons.

Everything is at its default but the paths, the ports and what a benchmark says.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import procfs
from vedette.demo.stage import SENSE_USER, SHIP_USER, Stage, wait_for

TENANT = "bench"
STEP_TIMEOUT_S = 60


class Site:
    """The directory, and what runs in it.

    Args:
        stage: an empty one.
        agent_extra: TOML behind the agent's usual configuration.
    """

    def __init__(self, stage: Stage, agent_extra: str = "") -> None:
        self.stage = stage
        self._extra = agent_extra

    @property
    def header_log(self) -> Path:
        """Where `sense` notes what it sealed and what was receipted."""
        return self.stage.agent_state / "sense" / "headers.log"

    def start_collector(self) -> None:
        """Set a collector up and start it.

        Raises:
            DemoFailed: it does not become ready.
        """
        stage = self.stage
        stage.collector_config.write_text(_COLLECTOR.format(stage=stage))
        config = ("--config", str(stage.collector_config))
        stage.command(
            "vedette-collector", "init", *config, "--tenant", TENANT,
            "--offline-keys", str(stage.offline),
        )  # fmt: skip
        stage.start("collector", "vedette-collector", "run", *config)
        self.wait("the collector's readiness", stage.is_ready)

    def enroll(self) -> None:
        """Enrol this host and write the agent's configuration.

        Raises:
            DemoFailed: a command failed.
        """
        stage = self.stage
        stage.agent_config.write_text(
            _AGENT.format(stage=stage, sense=SENSE_USER, ship=SHIP_USER, extra=self._extra)
        )
        token = stage.command(
            "vedette-collector", "token", "--config", str(stage.collector_config),
            "--tenant", TENANT,
        )  # fmt: skip
        stage.command(
            "vedette-agent", "enroll", "--config", str(stage.agent_config),
            f"127.0.0.1:{stage.ports['enrollment']}",
            "--intake", f"127.0.0.1:{stage.ports['intake']}", stdin=token.strip() + "\n",
        )  # fmt: skip

    def start_agent(self, *commands: str) -> None:
        """Start daemons of the agent, each under its own name."""
        for command in commands:
            config = str(self.stage.agent_config)
            self.stage.start(command, "vedette-agent", command, "--config", config)

    def pid(self, daemon: str, role: str = "") -> int:
        """Return the process id of a daemon, or of the one under it that has a role; 0 for none.

        Args:
            daemon: the name it was started under.
            role: a word of its command line.
        """
        parent = self.stage.pid(daemon)
        if not role:
            return parent
        try:
            found = procfs.children(parent)
        except OSError:
            return 0
        return next((pid for pid, words in found.items() if role in words), 0)

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for something.

        Raises:
            DemoFailed: it did not happen, or a daemon ended.
        """
        wait_for(what, condition, STEP_TIMEOUT_S, self.stage.check_alive)


@contextmanager
def a_site(agent_extra: str = "") -> Iterator[Site]:
    """Give an empty site in a directory of its own; afterwards nothing of it runs or remains."""
    root = Path(tempfile.mkdtemp(prefix="vedette-bench-"))
    # The halves of the agent are other users when root runs the benchmark.
    root.chmod(0o755)
    stage = Stage(root)
    with _compiled(root / "bytecode"):
        try:
            yield Site(stage, agent_extra)
        finally:
            stage.stop_all()
            stage.remove()


@contextmanager
def _compiled(directory: Path) -> Iterator[None]:
    """Have every process below use bytecode, as installed ones do, wherever the source lies."""
    names = ("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE")
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


_COLLECTOR = """\
[paths]
state = "{stage.collector_state}"

[trust]
domain = "bench.vedette.test"
server_names = ["127.0.0.1"]

[gateway]
intake_address = "127.0.0.1:{stage.ports[intake]}"
enrollment_address = "127.0.0.1:{stage.ports[enrollment]}"

[console]
address = "127.0.0.1:{stage.ports[console]}"
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

[sense.sensors.authlog]
paths = ["{stage.auth_log}"]
{extra}"""
