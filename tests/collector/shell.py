"""A collector set up in a directory, hosts that seal as the agent does, and its commands."""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from agent.sense.batch import OpenBatch
from agent.sense.seal import Surroundings
from certs.authority import RootAuthority
from certs.identity import AgentId, TenantId
from certs.p256 import P256Key
from certs.signatures import SigningKey
from collector import work
from collector.cli import main
from collector.issuer import server
from collector.issuer.desk import Desk
from collector.ledger.files import TenantFiles
from collector.ledger.ports import SealedBatch
from collector.ledger.sqlite import SqliteLedger
from collector.ports import AdmittedBatch, LiveProjection, Projection
from collector.settings import CollectorSettings, read_settings
from collector.setup import initialise
from collector.tenantwork import AdmittedSources, TenantWork, Tools
from proto import codec
from proto.content.checks import builtin_pack
from proto.model import (
    Check,
    CheckState,
    Finding,
    FindingKind,
    Priority,
    Record,
    Rule,
    Severity,
)
from runtime.clock import NS_PER_S
from tests.agent.sense.builders import Host
from tests.collector.issuer.builders import a_tenant
from tests.fakes.clock import FakeClock
from tests.proto.builders import a_finding

WAIT_S = 20
# Longer than the window of every rule, and than scores wait to settle.
QUIET_S = 3600

R = TypeVar("R", bound=Record)


def a_clock() -> FakeClock:
    """A clock that begins now, so that certificates hold for the processes beside it."""
    clock = FakeClock()
    clock.wall = time.time_ns()
    clock.monotonic = time.monotonic_ns()
    clock.boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return clock


class Shell:
    """A collector in a directory, with the configuration that its commands are given.

    Args:
        folder: an empty directory, or one to be made.
        extra: more of the configuration file.
    """

    def __init__(self, folder: Path, extra: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.state = folder / "state"
        self.offline = folder / "offline"
        self.config = folder / "collector.toml"
        self.configure(extra)
        self.clock = a_clock()

    def configure(self, extra: str = "") -> None:
        own = f'[paths]\nstate = "{self.state}"\n'
        rest = f'{own}\n[trust]\ndomain = "vedette.example"\n{extra}'
        self.config.write_text(rest, "utf-8")

    @property
    def settings(self) -> CollectorSettings:
        return read_settings(self.config, {}, missing_ok=False)

    @property
    def files(self) -> TenantFiles:
        return TenantFiles(self.state)

    def init(self, name: str = "acme") -> TenantId:
        made = initialise(self.settings, name, self.offline, self.clock, os.urandom)
        return made.tenant

    def add_tenant(self, name: str) -> TenantId:
        """Add a tenant while nothing serves, as its operator does with the root at hand."""
        settings = self.settings.issuer
        with Desk(settings, self.clock) as desk:
            tenant = a_tenant(desk, self.root(), name)
        self.files.make(tenant)
        ledger = SqliteLedger(self.files, self.clock, os.urandom)
        ledger.generation(tenant)
        ledger.close()
        return tenant

    def root(self) -> RootAuthority:
        """The root, as it can be had from the offline medium alone."""
        key = P256Key.load(self.offline / "root-key.pem")
        return RootAuthority("vedette.example", (self.offline / "root.pem").read_bytes(), key)

    def run(self, command: str, *argv: str) -> int:
        """Run a command as a person would, with this collector's configuration."""
        return main([command, *argv, "--config", str(self.config)])

    def append(self, tenant: TenantId, *batches: SealedBatch) -> None:
        """Keep batches as the gateway does."""
        ledger = SqliteLedger(self.files, self.clock, os.urandom)
        ledger.append(tenant, batches)
        ledger.close()

    def tools(self) -> Tools:
        return work.tools_of(self.settings, self.clock)

    @contextmanager
    def issuing(self) -> Iterator[None]:
        """Run the issuer, on a thread, as long as the block lasts."""
        loop = asyncio.new_event_loop()
        stop, ready = asyncio.Event(), threading.Event()
        served = server.serve(self.settings.issuer, self.clock, stop, ready.set)
        thread = threading.Thread(target=loop.run_until_complete, args=(served,))
        thread.start()
        try:
            assert ready.wait(WAIT_S)
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(WAIT_S)
            loop.close()


class Sealing(Host):
    """A host of a tenant: the agent's own sealer, without its disk and uplink.

    Args:
        tenant: whose host.
        name: as its headers say.
        seed: makes its key; None for a new one.
    """

    def __init__(self, tenant: TenantId, name: str = "web-1", seed: bytes | None = None) -> None:
        super().__init__(None if seed is None else SigningKey.from_private_bytes(seed))
        self.facts = structs.replace(self.facts, tenant=tenant.bytes, host_name=name)
        self.clock = a_clock()
        self.chain = self.sealer()

    @property
    def id(self) -> AgentId:
        return AgentId(self.agent)

    def seal(self, *records: Record) -> SealedBatch:
        batch = OpenBatch(Priority.MEDIUM)
        for record in records:
            batch.add(codec.encode_record(record), self.clock.wall, self.clock.boot)
        sealed = self.chain.seal(batch, Surroundings())
        return SealedBatch(
            header=codec.decode_header(sealed.header),
            header_bytes=sealed.header,
            header_hash=sealed.hash,
            signature=sealed.signature,
            body=sealed.body,
            public_key=self.key.public.raw,
            received=self.clock.wall,
        )


def a_detection(number: int, rule: str = "indicator.sha256", **changes: object) -> Finding:
    """One of a row of findings a second apart, each of another thing."""
    at = a_detection_time(number)
    values: dict[str, object] = {
        "title": f"Finding {number}",
        "key": number.to_bytes(16, "big"),
        "rule": Rule(id=rule),
        "event_time": at,
        "observed_at": at + 1,
    }
    return a_finding(**(values | changes))


START = time.time_ns() // NS_PER_S * NS_PER_S


def a_detection_time(number: int) -> int:
    return START + number * NS_PER_S


def three_that_belong_together() -> list[Finding]:
    """What `host.several-detections` makes one incident of."""
    return [
        a_detection(1),
        a_detection(2, rule="indicator.address"),
        a_detection(3, rule="indicator.file-name"),
    ]


def a_work(
    tenant: TenantId,
    tools: Tools,
    projections: Sequence[Projection | LiveProjection] | None = None,
    settings: CollectorSettings | None = None,
) -> TenantWork:
    made = projections or work.projections(settings or CollectorSettings())
    return TenantWork(tenant, tools, made)


def until_idle(worked: TenantWork | work.Worker) -> int:
    """Take turns until nothing moves; return how many were taken."""
    turns = 0
    while worked.turn():
        turns += 1
        assert turns < 1000
    return turns


def dump(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of a projection's own tables, in the order they were made."""
    db = sqlite3.connect(path)
    names = [
        name
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        if name not in {"cursor", "poison", "pending"} and not name.startswith("sqlite_")
    ]
    rows = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in sorted(names)}  # noqa: S608
    db.close()
    return rows


def admitted(shell: Shell, tenant: TenantId) -> list[AdmittedBatch]:
    """Everything below the verified mark, read as a newcomer reads it."""
    source = AdmittedSources(shell.files).ledger(tenant).source
    return list(source.read(0, 10_000))


def derived(shell: Shell, tenant: TenantId, kind: type[R]) -> list[R]:
    """Records of a kind that the collector sealed itself."""
    return [
        one.record
        for batch in admitted(shell, tenant)
        if batch.derived
        for one in batch.records
        if isinstance(one.record, kind)
    ]


@contextmanager
def working(shell: Shell, tenant: TenantId) -> Iterator[TenantWork]:
    tools = shell.tools()
    worked = a_work(tenant, tools)
    try:
        yield worked
    finally:
        worked.close()
        tools.ledger.close()


def lived(folder: Path) -> tuple[Shell, TenantId]:
    """A collector of one host, whose three findings made an incident that has been closed."""
    shell = Shell(folder)
    tenant = shell.init()
    live(shell, tenant, Sealing(tenant))
    return shell, tenant


def live(shell: Shell, tenant: TenantId, host: Sealing) -> None:
    shell.append(tenant, *[host.seal(one) for one in three_that_belong_together()])
    with working(shell, tenant) as worked:
        settle(shell, worked)


def settle(shell: Shell, worked: TenantWork) -> None:
    """Work through everything, then let a quiet hour pass."""
    until_idle(worked)
    for _ in range(3):
        shell.clock.forward(QUIET_S)
        worked.tick()
        until_idle(worked)
    shell.clock.forward(2)
    worked.tick()


def a_verdict(state: CheckState = CheckState.FAIL) -> Finding:
    """What a host says of the first check we ship."""
    spec = builtin_pack().checks[0]
    check = Check(
        id=spec.id,
        version=str(spec.version),
        state=state,
        reason="",
        evidence=(),
        max_age=QUIET_S * 100 * NS_PER_S,
        interval=QUIET_S * NS_PER_S,
    )
    return a_detection(
        9, rule=spec.id, kind=FindingKind.COMPLIANCE, check=check, severity=Severity.LOW
    )
