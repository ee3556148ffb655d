import asyncio
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from certs.identity import TenantId
from collector.commands import sinks
from collector.errors import LedgerUnavailable
from collector.forward.delivery import Tools
from collector.forward.forwarder import Forwarder
from collector.forward.store import ForwardReader
from runtime.clock import SystemClock
from tests.collector.forward.builders import eventually
from tests.collector.shell import Shell, lived

A_FILE = '[[forward]]\ntype = "jsonl"\nname = "{name}"\npath = "{path}"\n'


def a_file(shell: Shell, name: str = "file") -> str:
    return A_FILE.format(name=name, path=shell.folder / f"{name}.jsonl")


def cursor(path: Path) -> int:
    try:
        with ForwardReader(path) as reader:
            return max((status.cursor.position for status in reader.statuses()), default=0)
    except LedgerUnavailable:
        return 0  # it is being made


async def forwarded(shell: Shell, tenant: TenantId) -> None:
    """Run the forwarder over what was admitted until the file has it, durably."""
    tools = shell.tools()
    mark = tools.sources.ledger(tenant).source.mark()
    with ThreadPoolExecutor(2) as pool:
        forwarder = Forwarder(
            tools.sources, shell.settings.forward, Tools(SystemClock(), random.random, pool)
        )
        task = asyncio.create_task(forwarder.run())
        path = shell.files.projection(tenant, "forward")
        await eventually(lambda: cursor(path) == mark)
        task.cancel()
        await asyncio.wait([task])
    tools.ledger.close()


async def test_destinations_are_listed_with_how_far_they_have_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, tenant = lived(tmp_path)
    shell.configure(a_file(shell))
    await forwarded(shell, tenant)
    shell.configure(a_file(shell) + a_file(shell, "next"))

    codes = shell.run("sinks", "ls", "--json"), shell.run("sinks", "ls")

    lines = capsys.readouterr().out.splitlines()
    done, new = (json.loads(line) for line in lines[:2])
    assert codes == (0, 0)
    assert (done["name"], done["phase"], done["lag_batches"]) == ("file", "running", 0)
    assert done["confirmed"] >= 5
    assert new == {"name": "next", "phase": "not started"}
    assert lines[2].split() == [column.upper() for column in sinks.COLUMNS]
    assert len(lines) == 5


def test_a_destination_of_another_tenant_is_not_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, _ = lived(tmp_path)
    other = "00000000-0000-4000-8000-000000000000"
    shell.configure(a_file(shell) + f'tenants = ["{other}"]\n')

    code = shell.run("sinks", "ls", "--json")

    assert (code, capsys.readouterr().out) == (0, "")


def test_a_destination_that_takes_the_marked_event_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, tenant = lived(tmp_path)
    shell.configure(a_file(shell))

    code = shell.run("sinks", "test", "file", "--json")

    report = json.loads(capsys.readouterr().out)
    (line,) = (tmp_path / "file.jsonl").read_text().splitlines()
    assert code == 0
    assert report["state"] == report["top"] == "confirmed"
    assert report["event_id"] in line
    assert str(tenant) in line


def test_a_destination_that_cannot_be_reached_is_unhealthy_within_the_time_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, _ = lived(tmp_path)
    (tmp_path / "token").write_text("t\n")
    shell.configure(
        '[[forward]]\ntype = "splunk_hec"\nname = "splunk"\n'
        f'url = "http://127.0.0.1:9"\ntoken_file = "{tmp_path}/token"\n'
    )

    code = shell.run("sinks", "test", "splunk", "--seconds", "5")

    out = capsys.readouterr().out
    assert code == 3
    assert "splunk" in out
    assert "queued" in out


@pytest.mark.parametrize("name", ["nobody", ""])
def test_a_destination_that_is_not_set_is_named_with_those_that_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    shell = Shell(tmp_path)
    shell.init()
    shell.configure(a_file(shell))

    code = shell.run("sinks", "test", name)

    assert code == 2
    assert "known: file" in capsys.readouterr().err
