"""What is sent by syslog arrives at a real rsyslog over mutual TLS, whatever breaks on the way."""

import asyncio
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.forward.settings import BatchLimits, Patience, SyslogDestination
from collector.forward.sinks.syslog import SyslogSink
from collector.forward.states import State
from runtime.clock import SystemClock
from tests.collector.forward.builders import Bench, a_syslog, some_batches
from tests.collector.forward.certificates import a_certificate, an_authority
from tests.debian import extracted, libraries

PACKAGES = ("rsyslog", "rsyslog-openssl", "rsyslog-gnutls", "libestr0", "libfastjson4")
SENDER = "collector.example"
CONFIGURATION = """
global(workDirectory="{home}" maxMessageSize="64k"
       defaultNetstreamDriverCAFile="{ca}"
       defaultNetstreamDriverCertFile="{cert}"
       defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" StreamDriver.Name="{driver}" StreamDriver.Mode="1"
       StreamDriver.AuthMode="x509/name" PermittedPeer=["{sender}"])
input(type="imtcp" address="127.0.0.1" port="{port}" listenPortFileName="{home}/port")
template(name="raw" type="string" string="%rawmsg%\\n")
action(type="omfile" file="{home}/received" template="raw")
"""


class Rsyslog:
    """A real rsyslogd in the foreground, killed by the id it was started with."""

    def __init__(self, home: Path, root: Path, driver: str) -> None:
        self.home = home
        self.authority = an_authority(home / "authority")
        self._server = a_certificate(self.authority, "127.0.0.1")
        self._root = root
        self._driver = driver
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        configuration = self.home / "rsyslog.conf"
        configuration.write_text(
            CONFIGURATION.format(
                home=self.home,
                ca=self.authority.ca_file,
                cert=self._server.cert,
                key=self._server.key,
                driver=self._driver,
                sender=SENDER,
                port=self.port,
            )
        )
        (modules,) = self._root.glob("usr/lib/*/rsyslog")
        program = self._root / "usr/sbin/rsyslogd"
        with (self.home / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                [program, "-n", "-M", modules, "-f", configuration, "-i", self.home / "pid"],
                env=libraries(self._root),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        deadline = time.monotonic() + 10
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.skip(f"rsyslogd does not start: {(self.home / 'stderr').read_text()[-300:]}")
            time.sleep(0.02)

    def _listens(self) -> bool:
        if not self.port:
            # Written for a port that the kernel chose, and for no other.
            chosen = self.home / "port"
            self.port = int(chosen.read_text() or 0) if chosen.exists() else 0
            return self.port > 0
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=10)
            self._process = None

    def received(self) -> list[str]:
        path = self.home / "received"
        lines = path.read_text().splitlines() if path.exists() else []
        # A kill may tear rsyslog's own line; the next message stands behind what is left of it.
        whole = [line.rpartition("<")[2].split("] ", 1)[1] for line in lines]
        return [json.loads(text)["event_id"] for text in whole]

    def destination(self, **changes: object) -> SyslogDestination:
        client = a_certificate(self.authority, SENDER)
        values = {
            "ca_file": str(self.authority.ca_file),
            "cert_file": str(client.cert),
            "key_file": str(client.key),
            "tail_s": 0.5,
            "batch": BatchLimits(events_max=500, wait_s_max=0),
            "patience": Patience(retry_wait_s_first=0.05, retry_wait_s_max=0.2),
        }
        return a_syslog(f"127.0.0.1:{self.port}", **(values | changes))


@contextmanager
def rsyslog(pytestconfig: pytest.Config, home: Path, driver: str) -> Iterator[Rsyslog]:
    root = extracted(pytestconfig.cache.mkdir("debian"), *PACKAGES)
    receiver = Rsyslog(home, root, driver)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


async def forward(bench: Bench[SyslogSink], until: float) -> None:
    """Forward in real time until everything is behind the cursor, or the time has come."""
    while time.monotonic() < until:
        rest_s = await bench.delivery.turn()
        if bench.status().cursor.position >= bench.source.mark():
            return
        await asyncio.sleep(min(rest_s, 0.1))


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["ossl", "gtls"])
async def test_rsyslog_receives_every_message_over_mutual_tls(
    pytestconfig: pytest.Config, tmp_path: Path, driver: str
) -> None:
    with rsyslog(pytestconfig, tmp_path, driver) as receiver:
        destination = receiver.destination()
        sink = SyslogSink(destination, SystemClock())
        batches = some_batches(20, findings=200)
        clock = SystemClock()
        bench = Bench(tmp_path, sink, destination, batches=batches, clock=clock)
        await forward(bench, time.monotonic() + 30)
        await sink.close()
        receiver.stop()

        received = receiver.received()

    assert received == bench.uids()
    assert bench.status().counts[State.UNCONFIRMABLE] == 4000
    assert bench.status().resent == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_rsyslog_has_every_message_after_it_was_ended_and_started_again(
    pytestconfig: pytest.Config, tmp_path: Path, number: signal.Signals
) -> None:
    with rsyslog(pytestconfig, tmp_path, "ossl") as receiver:
        destination = receiver.destination()
        sink = SyslogSink(destination, SystemClock())
        bench = Bench(
            tmp_path, sink, destination, batches=some_batches(40, findings=200), clock=SystemClock()
        )
        for _ in range(6):
            await bench.delivery.turn()
        receiver.stop(number)
        await forward(bench, time.monotonic() + 0.5)
        receiver.start()
        await forward(bench, time.monotonic() + 30)
        await sink.close()
        receiver.stop()

        received = receiver.received()

    assert set(received) == set(bench.uids())
    assert bench.status().resent > 0


@pytest.mark.slow
async def test_rsyslog_refuses_a_sender_without_a_certificate_and_nothing_is_settled(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    with rsyslog(pytestconfig, tmp_path, "ossl") as receiver:
        destination = receiver.destination(cert_file="", key_file="")
        sink = SyslogSink(destination, SystemClock())
        bench = Bench(tmp_path, sink, destination, batches=some_batches(2), clock=SystemClock())
        await forward(bench, time.monotonic() + 2)
        await sink.close()
        receiver.stop()

        received = receiver.received()

    assert received == []
    assert bench.status().cursor.position == 0
    assert bench.status().counts[State.UNCONFIRMABLE] == 0
