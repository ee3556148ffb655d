"""What happens on this host during the demo; all of it harmless and on loopback."""

import hashlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from vedette.demo.stage import Stage

FAILED_LOGINS = 6
BINARY_RUNS_S = "3"

# The EICAR test file, in two halves so that this file is not one.
_EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-" + rb"ANTIVIRUS-TEST-FILE!$H+H*"


class Bait:
    """A listener of our own, a file and a program, all of them named in the demo's intel."""

    def __init__(self, stage: Stage, listener: socket.socket) -> None:
        self._stage = stage
        self._listener = listener
        self.address, self.port = listener.getsockname()[:2]
        self.program = stage.root / "harmless"
        shutil.copyfile("/bin/sleep", self.program)
        with self.program.open("ab") as file:
            # Bytes behind the last section change the hash and nothing else.
            file.write(b"vedette demo " + stage.hec_token.encode())
        self.program.chmod(0o755)

    def write_intel(self) -> None:
        """Write the list that the collector compiles."""
        rows = [
            ("sha256", hashlib.sha256(_EICAR).hexdigest(), "EICAR test file"),
            ("sha256", _sha256(self.program), "demo program"),
            ("ip_port", f"{self.address}:{self.port}", "demo listener"),
        ]
        lines = ["kind,value,family", *(",".join(row) for row in rows)]
        (self._stage.feeds / "demo.csv").write_text("\n".join(lines) + "\n")

    def drop_file(self) -> None:
        """Put the EICAR test file into a watched tree."""
        (self._stage.watched / "invoice.pdf.exe").write_bytes(_EICAR)

    def run_program(self) -> subprocess.Popen[bytes]:
        """Run the program for a moment."""
        return subprocess.Popen([str(self.program), BINARY_RUNS_S])

    def connect(self) -> socket.socket:
        """Open a connection to our own listener and keep it open."""
        connection = socket.create_connection((self.address, self.port), timeout=5)
        self._listener.accept()[0].close()
        return connection

    def fail_logins(self) -> None:
        """Write failed logins as sshd would."""
        stamp = datetime.now(UTC).isoformat(timespec="microseconds")
        lines = [
            f"{stamp} demo sshd[{4000 + n}]: Failed password for invalid user admin "
            f"from 192.0.2.{n + 1} port {50_000 + n} ssh2\n"
            for n in range(FAILED_LOGINS)
        ]
        with self._stage.auth_log.open("a") as file:
            file.writelines(lines)


@contextmanager
def bait(stage: Stage) -> Iterator[Bait]:
    """Lay out the bait, with a listener on a loopback address of its own."""
    with socket.socket() as listener:
        listener.bind(("127.66.6.6", 0))
        listener.listen(4)
        yield Bait(stage, listener)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
