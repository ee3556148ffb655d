import hashlib
import subprocess
from pathlib import Path

from collector.feeds.settings import FeedKind
from vedette.demo.acts import FAILED_LOGINS, bait
from vedette.demo.stage import Stage

# The published digest of the EICAR test file.
EICAR_SHA256 = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"


def test_the_intel_names_what_the_acts_do(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with bait(stage) as trap:
        trap.write_intel()
        trap.drop_file()

        rows = [line.split(",") for line in (stage.feeds / "demo.csv").read_text().splitlines()]
        (dropped,) = stage.watched.iterdir()

        listed = {row[1]: row[0] for row in rows[1:]}
        assert rows[0][:2] == ["kind", "value"]
        assert hashlib.sha256(dropped.read_bytes()).hexdigest() == EICAR_SHA256
        assert listed[EICAR_SHA256] == "sha256"
        assert listed[hashlib.sha256(trap.program.read_bytes()).hexdigest()] == "sha256"
        assert listed[f"{trap.address}:{trap.port}"] == FeedKind.IP_PORT.value


def test_the_program_is_harmless_and_runs(tmp_path: Path) -> None:
    with bait(Stage(tmp_path)) as trap:
        done = subprocess.run([str(trap.program), "0"], check=False, timeout=10)

    assert done.returncode == 0


def test_the_connection_reaches_our_own_listener_on_loopback(tmp_path: Path) -> None:
    with bait(Stage(tmp_path)) as trap:
        connection = trap.connect()

        assert connection.getpeername() == (trap.address, trap.port)
        assert trap.address.startswith("127.")
        connection.close()


def test_each_failed_login_is_a_line_of_its_own(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with bait(stage) as trap:
        trap.fail_logins()

    lines = stage.auth_log.read_text().splitlines()
    assert len(lines) == len(set(lines)) == FAILED_LOGINS
    assert all("Failed password for invalid user admin from 192.0.2." in line for line in lines)
