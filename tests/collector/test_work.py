import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from certs.errors import KeyUnusable
from certs.identity import TenantId
from collector import work
from collector.index import queries
from collector.index.queries import FindingFilter
from collector.tenantwork import Tools
from collector.work import LOOK_S, TICK_S, Worker, projections
from tests.collector.forward.builders import eventually
from tests.collector.shell import (
    Sealing,
    Shell,
    a_detection,
    admitted,
    dump,
    lived,
    three_that_belong_together,
    until_idle,
)

A_FILE = """
[[forward]]
type = "jsonl"
name = "file"
path = "{path}"
[forward.batch]
wait_s_max = 0
"""


class Crew:
    """A worker over all tenants of a collector, and whom it told of."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.tools: Tools = shell.tools()
        self.told: list[TenantId] = []
        self.worker = Worker(self.tools, lambda: projections(shell.settings), self.told.append)

    def look_again(self) -> None:
        self.shell.clock.forward(LOOK_S)
        until_idle(self.worker)


@contextmanager
def a_crew(shell: Shell) -> Iterator[Crew]:
    crew = Crew(shell)
    try:
        yield crew
    finally:
        crew.worker.close()
        crew.tools.ledger.close()


def titles(shell: Shell, tenant: TenantId) -> list[str]:
    db = queries.open_index(str(shell.files.projection(tenant, "index")))
    found = [str(row["title"]) for row in queries.findings(db, FindingFilter())]
    db.close()
    return sorted(found)


def two_tenants(folder: Path) -> tuple[Shell, TenantId, TenantId]:
    shell = Shell(folder)
    return shell, shell.init("acme"), shell.add_tenant("globex")


def test_every_tenant_gets_what_is_its_own_and_nothing_else(tmp_path: Path) -> None:
    shell, acme, globex = two_tenants(tmp_path)
    shell.append(acme, Sealing(acme).seal(a_detection(1)))
    shell.append(globex, Sealing(globex).seal(a_detection(2)))

    with a_crew(shell) as crew:
        until_idle(crew.worker)

    assert titles(shell, acme) == ["Finding 1"]
    assert titles(shell, globex) == ["Finding 2"]
    assert {batch.tenant for batch in admitted(shell, acme)} == {acme}


def told(caplog: pytest.LogCaptureFixture, message: str) -> list[dict[str, object]]:
    """The fields of every line of this message."""
    lines = [line for line in caplog.records if line.getMessage() == message]
    return [line.__dict__["fields_of_log"] for line in lines]


def damage(shell: Shell, tenant: TenantId, name: str) -> Path:
    path = shell.files.directory(tenant) / f"{name}.db"
    for beside in path.parent.glob(f"{name}.db-*"):
        beside.unlink()
    path.write_bytes(b"not a database" * 1000)
    return path


@pytest.mark.parametrize("name", ["ledger", "log"])
def test_a_tenant_whose_file_is_damaged_waits_and_does_not_stop_another(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    shell, acme, globex = two_tenants(tmp_path)
    for tenant in (acme, globex):
        shell.append(tenant, Sealing(tenant).seal(a_detection(1)))
    broken = damage(shell, acme, name)
    before = broken.read_bytes()

    with a_crew(shell) as crew, caplog.at_level(logging.INFO):
        for _ in range(3):
            crew.look_again()

    (waits,) = told(caplog, "tenant waits")
    assert titles(shell, globex) == ["Finding 1"]
    assert set(crew.told) == {globex}
    assert waits["tenant"] == str(acme)
    assert broken.name in str(waits["reason"])
    assert broken.read_bytes() == before


@pytest.mark.parametrize("name", ["index", "correlate", "comply"])
def test_a_damaged_projection_is_put_aside_and_built_anew(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything in it is in the ledger too, and what it derived was sealed once."""
    shell, tenant = lived(tmp_path)
    before = dump(shell.files.projection(tenant, name))
    sealed = len(admitted(shell, tenant))
    damage(shell, tenant, name)

    with a_crew(shell) as crew, caplog.at_level(logging.INFO):
        for _ in range(3):
            crew.look_again()

    (line,) = told(caplog, "damaged projection is built anew")
    assert dump(shell.files.projection(tenant, name)) == before
    assert len(admitted(shell, tenant)) == sealed
    assert Path(str(line["kept"])).read_bytes().startswith(b"not a database")


def test_a_tenant_goes_on_when_its_file_is_well_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()
    shell.append(tenant, Sealing(tenant).seal(a_detection(1)))
    broken = damage(shell, tenant, "log")

    with a_crew(shell) as crew, caplog.at_level(logging.INFO):
        crew.look_again()
        broken.unlink()
        crew.look_again()
        crew.look_again()

    assert titles(shell, tenant) == ["Finding 1"]
    assert told(caplog, "tenant goes on") == [{"tenant": str(tenant)}]


def test_a_projection_that_breaks_in_the_middle_is_built_anew(tmp_path: Path) -> None:
    shell, acme, globex = two_tenants(tmp_path)
    hosts = {tenant: Sealing(tenant) for tenant in (acme, globex)}
    with a_crew(shell) as crew:
        for tenant, host in hosts.items():
            shell.append(tenant, *[host.seal(a_detection(n)) for n in range(200)])
        until_idle(crew.worker)
        crew.worker.close()
        path = shell.files.projection(acme, "index")
        whole = path.read_bytes()
        # The first page is well: the damage shows only when a finding is written.
        path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
        for tenant, host in hosts.items():
            shell.append(tenant, host.seal(a_detection(1000)))

        for _ in range(3):
            crew.look_again()

    assert len(titles(shell, acme)) == len(titles(shell, globex)) == 201


def test_a_tenant_that_is_added_later_is_taken_up(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.init()
    with a_crew(shell) as crew:
        until_idle(crew.worker)
        added = shell.add_tenant("globex")
        shell.append(added, Sealing(added).seal(a_detection(1)))

        at_once = crew.worker.turn()
        crew.look_again()

    assert not at_once
    assert titles(shell, added) == ["Finding 1"]
    assert added in crew.told


def test_forwarding_is_told_of_a_tenant_whenever_its_mark_has_moved(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()
    host = Sealing(tenant)
    with a_crew(shell) as crew:
        until_idle(crew.worker)
        silent = list(crew.told)
        shell.append(tenant, host.seal(*three_that_belong_together()))
        until_idle(crew.worker)

    # The host's batch, and the incident that we sealed of it.
    assert (silent, crew.told) == ([], [tenant, tenant])


def test_an_idle_worker_does_nothing_but_look_at_the_clock(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    tenant = shell.init()
    shell.append(tenant, Sealing(tenant).seal(a_detection(1)))
    with a_crew(shell) as crew:
        until_idle(crew.worker)
        log = crew.tools.sources.ledger(tenant).checkpoint
        signed = log()
        shell.append(tenant, Sealing(tenant).seal(a_detection(2)))
        until_idle(crew.worker)
        before_tick = log()
        shell.clock.forward(TICK_S)
        crew.worker.turn()
        after_tick = log()

        assert crew.worker.turn() is False

    assert signed is not None
    assert before_tick == signed
    assert after_tick is not None
    assert after_tick.size == 2


def test_who_was_let_go_of_has_no_file_open(tmp_path: Path) -> None:
    shell, acme, _ = two_tenants(tmp_path)
    shell.append(acme, Sealing(acme).seal(a_detection(1)))

    with a_crew(shell) as crew:
        until_idle(crew.worker)

    opened = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.exists()]
    assert not [path for path in opened if path.is_relative_to(shell.state)]


async def running(shell: Shell, stop: asyncio.Event, **more: Path) -> "asyncio.Task[None]":
    ready = asyncio.Event()
    task = asyncio.create_task(work.run(shell.settings, shell.clock, stop, ready.set, **more))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED, timeout=20)
    waiting.cancel()
    return task


def forwarded(path: Path) -> list[str]:
    """The titles of findings in a destination's file."""
    if not path.exists():
        return []
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [title for title in map(title_of, events) if title.startswith("Finding ")]


def has_events(path: Path, count: int) -> bool:
    return len(forwarded(path)) >= count


def title_of(event: dict[str, object]) -> str:
    return str(event.get("title", ""))


async def test_what_was_admitted_is_forwarded_once_over_restarts(tmp_path: Path) -> None:
    """The forwarder reads the same batches as the projections, through the same sources."""
    path = tmp_path / "siem.jsonl"
    shell = Shell(tmp_path, A_FILE.format(path=path))
    tenant = shell.init()
    host = Sealing(tenant)
    for number in range(3):
        stop = asyncio.Event()
        shell.append(tenant, host.seal(a_detection(number), a_detection(number + 10)))
        task = await running(shell, stop)
        wanted = 2 * (number + 1)
        await eventually(partial(has_events, path, wanted))
        await asyncio.sleep(0.1)
        stop.set()
        await asyncio.wait_for(task, 20)

    found = forwarded(path)
    assert set(Counter(found).values()) == {1}
    assert len(found) == 6


async def test_without_its_keys_the_worker_says_so(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.init()
    shell.settings.paths.own_key.unlink()

    with pytest.raises(KeyUnusable, match=r"own\.pem"):
        await work.run(shell.settings, shell.clock, asyncio.Event(), lambda: None)


async def test_a_destination_is_added_while_the_worker_runs(tmp_path: Path) -> None:
    path = tmp_path / "siem.jsonl"
    shell = Shell(tmp_path)
    tenant = shell.init()
    shell.append(tenant, Sealing(tenant).seal(a_detection(1)))
    stop = asyncio.Event()
    task = await running(shell, stop, path=shell.config)

    await asyncio.sleep(0.3)
    shell.configure("[nonsense]\n")
    await asyncio.sleep(0.3)
    alive = not task.done()
    shell.configure(A_FILE.format(path=path))
    await eventually(lambda: forwarded(path), 20)
    stop.set()
    await asyncio.wait_for(task, 20)

    assert alive
    assert forwarded(path) == ["Finding 1"]
