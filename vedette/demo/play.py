"""The play: set up, let things happen, gather what came of them."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from vedette.demo.acts import FAILED_LOGINS, Bait, bait
from vedette.demo.hec import HecReceiver
from vedette.demo.stage import DemoFailed, Stage, wait_for

STEP_TIMEOUT_S = 45
TENANT = "demo"

# Rules whose findings the acts must cause.
EXPECTED_RULES = ("indicator.sha256", "indicator.ip_port", "login.failed")


# Of each framework's row in the report, what the demo shows.
FRAMEWORK_FIELDS = ("edition", "items", "evidenced", "score_percent", "coverage_percent")


class Outcome(Struct, kw_only=True):
    """What the demo saw; printed by ``--json`` as it stands."""

    findings: int = 0
    by_kind: dict[str, int] = {}
    batches: int = 0
    receipts: int = 0
    incidents: int = 0
    frameworks: dict[str, dict[str, Any]] = {}
    forwarded: int = 0
    proof_verified: bool = False
    lost: int = 0
    duplicated: int = 0
    seconds: float = 0.0
    split: str = ""
    sensors: dict[str, str] = {}
    incident_titles: list[str] = []
    missing: list[str] = []


class Play:
    """One run of the demo.

    Args:
        stage: an empty one.
        tell: called with each step, for the person who watches.
    """

    def __init__(self, stage: Stage, tell: Callable[[str], None]) -> None:
        self._stage = stage
        self._tell = tell
        self._outcome = Outcome()

    def run(self) -> Outcome:
        """Play it through.

        Raises:
            DemoFailed: a step did not happen.
        """
        stage = self._stage
        with closing(HecReceiver(stage.hec_token)) as hec, bait(stage) as trap, self._children():
            self._tell("making a throw-away certificate authority and starting the collector")
            self._start_collector(hec.url, trap)
            self._tell("enrolling this host and starting the agent")
            self._start_agent()
            self._tell("waiting for the threat intel to reach the agent, signed")
            self._wait("signed content on the agent", self._has_content)
            self._tell("dropping the EICAR test file, running a listed program, connecting to a")
            self._tell("  listed address and failing six logins, all on this host")
            with self._acts(trap):
                self._wait("the expected findings", self._has_findings)
                self._wait("the incident they form", self._has_incident)
                self._wait("a readiness score", self._has_readiness)
            self._tell("stopping the agent and counting")
            self._settle(hec)
            self._tell("proving one finding offline")
            self._prove()
        return self._outcome

    # -- steps -----------------------------------------------------------------------------------

    def _start_collector(self, hec_url: str, trap: Bait) -> None:
        stage = self._stage
        trap.write_intel()
        stage.write_collector_config(hec_url)
        config = ("--config", str(stage.collector_config))
        stage.command(
            "vedette-collector", "init", *config, "--tenant", TENANT,
            "--offline-keys", str(stage.offline),
        )  # fmt: skip
        stage.start("collector", "vedette-collector", "run", *config)
        self._wait("the collector's readiness", self._is_ready)

    def _start_agent(self) -> None:
        stage = self._stage
        stage.write_agent_config()
        token = stage.command(
            "vedette-collector", "token", "--config", str(stage.collector_config),
            "--tenant", TENANT,
        ).strip()  # fmt: skip
        said = stage.command(
            "vedette-agent", "enroll", "--config", str(stage.agent_config),
            f"127.0.0.1:{stage.ports['enrollment']}",
            "--intake", f"127.0.0.1:{stage.ports['intake']}", stdin=token + "\n",
        )  # fmt: skip
        del said
        stage.start("agent", "vedette-agent", "run", "--config", str(stage.agent_config))

    @contextmanager
    def _acts(self, trap: Bait) -> Iterator[None]:
        trap.drop_file()
        connection = trap.connect()
        trap.fail_logins()
        running = trap.run_program()
        try:
            yield
        finally:
            connection.close()
            try:
                running.wait(STEP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()

    def _settle(self, hec: HecReceiver) -> None:
        """Stop the agent, let the collector take in the rest, and compare both ends."""
        stage = self._stage
        stage.stop("agent")
        sealed = self._outbox()
        self._wait("everything sealed at the collector", lambda: self._all_there(sealed))
        self._wait("everything due at the receiver", lambda: self._forwarded_all(hec))
        findings = self._findings()
        ids = Counter(str(row["uid"]) for row in findings)
        out = self._outcome
        out.findings = len(ids)
        out.by_kind = dict(Counter(str(row["kind"]) for row in findings))
        out.incidents = len(self._incidents())
        out.incident_titles = sorted({str(row["title"]) for row in self._incidents()})
        out.frameworks = {
            str(row["framework"]): {name: row[name] for name in FRAMEWORK_FIELDS}
            for row in self._stage.ask("readiness")
        }
        there = self._ledger()
        out.batches = len(sealed)
        out.receipts = sum(1 for row in sealed if (row["epoch"], row["seq"]) in there)
        out.lost = len(sealed) - out.receipts
        out.duplicated = sum(n - 1 for n in ids.values()) + hec.received.duplicates
        out.forwarded = hec.received.events
        hosts = self._stage.ask("hosts")
        out.split = str(hosts[0].get("split", ""))
        out.sensors = dict(hosts[0].get("sensors") or {})

    def _prove(self) -> None:
        stage = self._stage
        uid = next(
            str(row["uid"]) for row in self._findings()
            if row["rule"] == "indicator.sha256"
        )  # fmt: skip
        proof, trust = stage.root / "proof.tlog-proof", stage.root / "trust.json"
        self._wait("the finding's place in the log", lambda: self._write_proof(uid, proof))
        shutil.copyfile(stage.agent_state / "ship" / "trust.json", trust)
        done = json.loads(
            stage.command("vedette", "verify", str(proof), "--trust", str(trust), "--json")
        )
        self._outcome.proof_verified = bool(done["verified"])

    def _write_proof(self, uid: str, proof: Path) -> bool:
        try:
            self._stage.command(
                "vedette-collector", "ledger", "proof", uid, "--config",
                str(self._stage.collector_config), "--tenant", TENANT, "--output", str(proof),
            )  # fmt: skip
        except DemoFailed:
            return False
        return proof.exists()

    # -- questions -------------------------------------------------------------------------------

    def _collector(self, *words: str) -> list[dict[str, Any]]:
        return self._stage.rows(
            "vedette-collector", *words, "--config", str(self._stage.collector_config),
            "--tenant", TENANT,
        )  # fmt: skip

    def _is_ready(self) -> bool:
        return self._stage.is_ready()

    def _has_content(self) -> bool:
        hosts = self._stage.ask("hosts")
        return bool(hosts and hosts[0].get("content"))

    def _has_findings(self) -> bool:
        seen = Counter(str(row["rule"]) for row in self._findings())
        self._outcome.missing = [rule for rule in EXPECTED_RULES if not seen[rule]]
        is_enough = seen["login.failed"] >= FAILED_LOGINS and seen["indicator.sha256"] > 1
        return not self._outcome.missing and is_enough

    def _findings(self) -> list[dict[str, Any]]:
        return self._stage.ask("findings?limit=1000")

    def _has_incident(self) -> bool:
        return bool(self._incidents())

    def _incidents(self) -> list[dict[str, Any]]:
        return self._stage.ask("incidents")

    def _has_readiness(self) -> bool:
        return any(row["evidenced"] for row in self._stage.ask("readiness"))

    def _outbox(self) -> list[dict[str, Any]]:
        return self._stage.rows(
            "vedette-agent", "outbox", "ls", "--config", str(self._stage.agent_config)
        )

    def _ledger(self) -> set[tuple[str, int]]:
        return {(str(row["epoch"]), int(row["seq"])) for row in self._collector("ledger", "ls")}

    def _all_there(self, sealed: list[dict[str, Any]]) -> bool:
        there = self._ledger()
        return all((row["epoch"], row["seq"]) in there for row in sealed)

    def _forwarded_all(self, hec: HecReceiver) -> bool:
        (sink,) = self._collector("sinks", "ls")
        return hec.received.events > 0 and not sink["lag_batches"]

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        wait_for(what, condition, STEP_TIMEOUT_S, self._stage.check_alive)

    @contextmanager
    def _children(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._stage.stop_all()
