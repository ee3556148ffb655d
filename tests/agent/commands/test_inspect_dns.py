import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.commands import inspect, inspect_dns
from agent.hostroot import HostRoot
from agent.inspect.dnscapture import NoCapture, open_capture
from agent.sense.sensors.namespaces import sees_host_network, sees_host_processes
from agent.sense.sensors.procdir import Proc

REPOSITORY = Path(__file__).parents[3]
RSS_MIB_MAX = 20
CPU_PERCENT_MAX = 20

pytestmark = pytest.mark.root


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that users of their own may reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="vedette-dns-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def played(scene: str, folder: Path, *, apart: bool = True) -> dict[str, Any]:
    """Play a scene with the real unit, in a network made for it; return what came of it."""
    if os.geteuid() != 0:
        pytest.skip("root is needed, to open a packet socket")
    words = ["unshare", "--net"] if apart else []
    done = subprocess.run(
        [*words, sys.executable, "-m", "tests.agent.inspect.dnsscene", scene, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    if "unshare" in done.stderr or "needs CAP_NET_RAW" in done.stderr:
        pytest.skip(f"needs the right to make networks: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_query_and_answer_are_seen_by_a_process_that_can_do_nothing_else(folder: Path) -> None:
    found = played("answers", folder)

    assert found["messages"] == [
        ["dns_query", "A", None, []],
        ["dns_answer", "A", "NOERROR", ["203.0.113.5"]],
    ]
    status = found["status"]
    assert (status["CapPrm"], status["CapEff"], status["Seccomp"]) == ("0" * 16, "0" * 16, "2")
    assert found["sockets"] >= 2
    assert [path for path in found["files"] if path.startswith(str(folder))] == []
    assert found["rss_kib"] / 1024 < RSS_MIB_MAX


def test_a_flood_is_a_declared_loss_and_the_unit_goes_on(folder: Path) -> None:
    found = played("flood", folder)

    assert found["dropped"] > 0
    assert found["told"] < 30_000
    assert found["cpu_percent"] < CPU_PERCENT_MAX


def test_garbage_is_counted_and_the_unit_goes_on(folder: Path) -> None:
    assert played("garbage", folder)["unreadable"] > 0


def test_who_asks_is_named_where_the_numbers_are_the_hosts(folder: Path) -> None:
    host = HostRoot()
    if not sees_host_network(host) or not sees_host_processes(host, Proc(host)):
        pytest.skip("needs the host's own processes and network")

    found = played("who", folder, apart=False)

    assert found["told"] == found["asked"]


def test_without_the_right_to_packets_the_hint_says_what_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.socket", refused)

    with pytest.raises(NoCapture) as caught:
        open_capture()

    assert "vedette-dns.service" in caught.value.hint
    assert inspect_dns.READER == "agent.inspect.dns"


def test_it_is_a_work_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_dns, "run", lambda args: 7 if args.work == "dns" else 0)
    parser = argparse.ArgumentParser()
    inspect.add_arguments(parser)

    assert inspect.run(parser.parse_args(["dns"])) == 7
    assert parser.parse_args([]).work is None


def refused(*_words: object) -> None:
    raise PermissionError(1, "Operation not permitted")
