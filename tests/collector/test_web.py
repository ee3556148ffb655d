import asyncio
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.console.errors import BadRequest
from collector.console.metrics import METRICS, exposition
from collector.console.ports import FindingQuery, PageQuery
from collector.console.settings import ConsoleSettings
from collector.settings import CollectorSettings, ListenSettings, PathSettings
from collector.web import Checks, NotReadable, Views, run
from runtime.clock import SystemClock
from runtime.files import FileLock
from tests.collector.builders import TENANT
from tests.collector.shell import Sealing, a_detection, admitted, lived, until_idle, working


def settings_in(path: Path, port: int = 0) -> CollectorSettings:
    return CollectorSettings(
        paths=PathSettings(state=str(path)),
        console=ConsoleSettings(address=f"127.0.0.1:{port}"),
        gateway=ListenSettings(intake_address="127.0.0.1:1", enrollment_address="127.0.0.1:1"),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def states(settings: CollectorSettings) -> dict[str, bool]:
    return {check.name: check.ok for check in Checks(settings).checks()}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen(1)
        yield found


def test_a_collector_of_which_nothing_runs_is_not_ready(tmp_path: Path) -> None:
    assert states(settings_in(tmp_path)) == {
        "issuer": False,
        "intake": False,
        "worker": False,
        "disk": True,
    }


def test_each_part_is_tried_for_itself(tmp_path: Path, listener: socket.socket) -> None:
    lock = FileLock(tmp_path / "work.lock")
    lock.acquire()
    port = listener.getsockname()[1]
    settings = CollectorSettings(
        paths=PathSettings(state=str(tmp_path)),
        gateway=ListenSettings(
            intake_address=f"127.0.0.1:{port}", enrollment_address="127.0.0.1:1"
        ),
    )

    found = states(settings)

    lock.release()
    assert found["intake"]
    assert found["worker"]
    assert not found["issuer"]


def test_a_disk_that_cannot_be_written_is_not_ready(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "none")

    assert not states(settings)["disk"]


def test_numbers_of_a_collector_without_tenants_are_rendered(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    views = Views(settings, SystemClock(), Checks(settings))

    samples = list(views.samples())

    assert {sample.metric for sample in samples} <= METRICS.keys()
    assert b"vedette" in exposition(samples)


def test_a_view_that_is_not_made_yet_says_to_try_again(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    views = Views(settings, SystemClock(), Checks(settings))

    with pytest.raises(NotReadable) as refused:
        views.findings(TENANT, FindingQuery())
    for question in (views.hosts, views.incidents, views.readiness):
        with pytest.raises(NotReadable):
            question(TENANT, PageQuery())
    assert refused.value.retryable


def get(url: str, token: str = "") -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  (loopback)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310  (loopback)
            return int(reply.status), reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


async def test_the_process_answers_health_metrics_and_the_api(tmp_path: Path) -> None:
    port = free_port()
    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(
        run(settings_in(tmp_path, port), SystemClock(), stop, ready.set)
    )
    async with asyncio.timeout(20):
        await ready.wait()
    base = f"http://127.0.0.1:{port}"
    token = (tmp_path / "api-token").read_text().strip()

    live = await asyncio.to_thread(get, f"{base}/livez")
    readiness = await asyncio.to_thread(get, f"{base}/readyz")
    metrics = await asyncio.to_thread(get, f"{base}/metrics")
    closed = await asyncio.to_thread(get, f"{base}/api/v1/tenants")
    opened = await asyncio.to_thread(get, f"{base}/api/v1/tenants", token)
    stop.set()
    await serving

    assert live[0] == 200
    assert readiness[0] == 503
    assert metrics[0] == 200
    assert closed[0] in {401, 403}
    assert opened[0] == 200
    assert json.loads(opened[1])
    assert (tmp_path / "api-token").stat().st_mode & 0o777 == 0o600
    await asyncio.to_thread(lint, metrics[1])


def lint(metrics: bytes) -> None:
    if shutil.which("promtool") is None:
        return
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


async def test_the_api_answers_what_the_commands_print(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, tenant = lived(tmp_path)
    views = Views(shell.settings, SystemClock(), Checks(shell.settings))

    for command, asked in (
        ("findings", views.findings(tenant, FindingQuery())),
        ("incidents", views.incidents(tenant, PageQuery())),
        ("agents", views.hosts(tenant, PageQuery())),
    ):
        action = ["ls"] if command == "agents" else []
        shell.run(command, *action, "--json")
        printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert json.loads(json.dumps(list(asked))) == printed
        assert printed


def test_what_is_no_agent_is_the_askers_mistake(tmp_path: Path) -> None:
    shell, tenant = lived(tmp_path)
    views = Views(shell.settings, SystemClock(), Checks(shell.settings))

    with pytest.raises(BadRequest):
        views.findings(tenant, FindingQuery(agent="web-1"))
    assert views.findings(tenant, FindingQuery(agent=str(Sealing(tenant).id))) == []


def test_numbers_tell_how_far_each_projection_has_come(tmp_path: Path) -> None:
    shell, tenant = lived(tmp_path)
    shell.append(tenant, Sealing(tenant).seal(a_detection(7)))
    views = Views(shell.settings, SystemClock(), Checks(shell.settings))

    found = {(one.metric, one.labels): one.value for one in views.samples()}

    name = str(tenant)
    batches = len(admitted(shell, tenant))
    assert found["ledger_batches_total", (name,)] == batches + 1
    assert found["verified_batches_total", (name,)] == batches
    for projection in ("index", "correlate", "comply"):
        assert found["projection_lag_batches", (name, projection)] == 0
        assert found["projection_pending_records", (name, projection)] == 0
    assert found["index_rows", (name, "findings")] == 3


@pytest.mark.parametrize("broken", ["index", "log", "ledger", "forward"])
def test_one_tenants_damaged_file_leaves_the_numbers_of_the_others(
    tmp_path: Path, broken: str
) -> None:
    shell, tenant = lived(tmp_path)
    other = shell.add_tenant("globex")
    with working(shell, other) as worked:
        until_idle(worked)
    (shell.files.directory(tenant) / f"{broken}.db").write_bytes(b"no database" * 1000)
    views = Views(shell.settings, SystemClock(), Checks(shell.settings))

    told = {sample.labels[0] for sample in views.samples() if sample.metric == "log_entries"}

    assert str(other) in told
