"""``python -m tests.agent.inspect.dnsscene SCENE FOLDER``: the unit and its sensor, in a network.

Run it inside a network namespace made for it; ``who`` needs the host's own. It starts the unit as
``run`` would, drives the sensor behind it, does what the scene says on loopback and prints what was
told as one JSON object.
"""

import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.hostroot import HostRoot
from agent.layout import make_directories, owners
from agent.sense.sensors.dns import DnsSensor
from agent.sense.sensors.dnssettings import DnsSettings
from agent.settings import PathSettings, PrivilegeSettings
from proto.model import DnsMessage, Drop, HealthState, Observation
from runtime.clock import SystemClock
from tests.agent.inspect.dnsbytes import A, a_query, a_record, address, an_answer

USERS = PrivilegeSettings("61001", "61002", "61003", "61004")
WAIT_S = 30
DNS = ("127.0.0.1", 53)


class Scene:
    """A sensor, its unit, and what the sensor told."""

    def __init__(self, folder: Path) -> None:
        self.paths = PathSettings(state=str(folder / "lib"), run=str(folder / "run"))
        self._clock = SystemClock()
        owned, _ = owners(USERS)
        make_directories(self.paths, owned)
        self._config = folder / "agent.toml"
        self._config.write_text(
            f'[paths]\nstate = "{self.paths.state}"\nrun = "{self.paths.run}"\n[privileges]\n'
            'sense_user = "61001"\nship_user = "61002"\nship_group = "61003"\ndns_user = "61004"\n'
        )
        self.sensor = DnsSensor(
            DnsSettings(), HostRoot(), self._clock, (Path(self.paths.dns_door), owned.dns_uid)
        )
        self.sensor.start(b"")
        self.told: list[object] = []

    @contextlib.contextmanager
    def unit(self) -> Iterator[int]:
        """Run the unit until it has come to the door, and end it at the end; yield its number."""
        words = "inspect", "dns", "--config", str(self._config)
        argv = [sys.executable, "-P", "-m", "agent", *words]
        with subprocess.Popen(argv) as unit:
            try:
                self.until(lambda: self.sensor.health().state is HealthState.OK, "the unit")
                time.sleep(0.5)  # it says hello before it has given up its last calls
                yield unit.pid
            finally:
                unit.terminate()

    def until(self, is_done: Callable[[], bool], what: str) -> None:
        """Drive the sensor until something is so."""
        end = time.monotonic() + WAIT_S
        while not is_done():
            if time.monotonic() > end:
                raise SystemExit(f"{what} did not come; told: {self.told[-5:]}")
            select.select(self.sensor.descriptors(), (), (), 0.1)
            self.told += self.sensor.poll(self._clock.boot_ns() + 50_000_000)

    def messages(self, name: str) -> list[tuple[Observation, DnsMessage]]:
        """Return what was told of a name."""
        return [
            (fact, fact.subject.value)
            for fact in self.told
            if isinstance(fact, Observation)
            and isinstance(fact.subject.value, DnsMessage)
            and fact.subject.value.name == name
        ]

    def drops(self, detail: str) -> int:
        """Return how many losses of a kind were told."""
        lost = [drop for drop in self.told if isinstance(drop, Drop) and detail in drop.detail]
        return sum(drop.count or 0 for drop in lost)


def ask(name: str) -> None:
    """Ask for a name on loopback, and answer it."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(DNS)
        client.connect(DNS)
        client.send(a_query(name))
        _, asker = server.recvfrom(4096)
        server.sendto(an_answer(a_record(A, address("203.0.113.5")), name=name), asker)
        client.recv(4096)


def answers(scene: Scene) -> dict[str, object]:
    """One query and its answer; what the process is like meanwhile."""
    with scene.unit() as pid:
        ask("www.example.org")
        scene.until(lambda: len(scene.messages("www.example.org")) >= 2, "query and answer")
        status = Path(f"/proc/{pid}/status").read_text("ascii")
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        sizes = dict(line.split(":", 1) for line in rollup.splitlines()[1:])
    scene.until(lambda: scene.sensor.health().state is HealthState.BLIND, "the end of the unit")
    return {
        "messages": [
            (fact.kind.value, message.qtype, message.code, message.answers)
            for fact, message in scene.messages("www.example.org")
        ],
        "status": {name: fields[name].strip() for name in ("Uid", "CapPrm", "CapEff", "Seccomp")},
        "sockets": sum(link.startswith("socket:") for link in links),
        "files": [link for link in links if link.startswith("/") and not link.startswith("/dev")],
        "rss_kib": int(sizes["Rss"].split()[0]),
        "pss_kib": int(sizes["Pss"].split()[0]),
    }


def flood(scene: Scene) -> dict[str, object]:
    """More packets than anybody can read, and one query after them."""
    with scene.unit() as pid:
        cpu, began = cpu_s(pid), time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for number in range(30_000):
                with contextlib.suppress(OSError):
                    client.sendto(a_query(f"n{number}.example.net"), DNS)
        scene.until(lambda: scene.drops("no room") > 0, "the loss")
        scene.until(lambda: repeated(scene, "after.example.org"), "a query after the flood")
        share = (cpu_s(pid) - cpu) / (time.monotonic() - began)
    return {"dropped": scene.drops("no room"), "told": len(scene.told), "cpu_percent": 100 * share}


def garbage(scene: Scene) -> dict[str, object]:
    """What is no DNS at all, and one query after it."""
    with scene.unit():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for size in range(0, 300, 3):
                with contextlib.suppress(OSError):
                    client.sendto(os.urandom(size), DNS)
        ask("after.example.org")
        scene.until(lambda: bool(scene.messages("after.example.org")), "a query after garbage")
        scene.until(lambda: scene.drops("could be read") > 0, "the loss")
    return {"unreadable": scene.drops("could be read")}


def who(scene: Scene) -> dict[str, object]:
    """A query of this process, without anybody to answer it."""
    name = "vedette-test.invalid"
    with scene.unit(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(DNS)
        client.send(a_query(name))
        scene.until(lambda: bool(scene.messages(name)), "the query")
    [(fact, _), *_] = scene.messages(name)
    return {"asked": os.getpid(), "told": fact.process.pid if fact.process else None}


def repeated(scene: Scene, name: str) -> bool:
    """Ask again until it is told: while a flood is read late, packets are dropped."""
    ask(name)
    return bool(scene.messages(name))


def cpu_s(pid: int) -> float:
    """Return the processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def loopback_up() -> None:
    """Switch loopback on; a new network has it off."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1))


SCENES = {"answers": answers, "flood": flood, "garbage": garbage, "who": who}

if __name__ == "__main__":
    if sys.argv[1] != "who":
        loopback_up()
    sys.stdout.write(json.dumps(SCENES[sys.argv[1]](Scene(Path(sys.argv[2])))))
