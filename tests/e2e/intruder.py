"""What a fallen networked half would try, run as its user; prints what came of each attempt.

Started as a program of its own: ``intruder.py STATE SENSE_PID``.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.doorframes import Damaged, FromShip, Hello, ReceiptFrame, SignRequest, encode
from proto import codec
from proto.model import Durability, Receipt, StatementKind
from runtime.frames import encode_frame

PTRACE_ATTACH = 16
GARBAGE = b"\xff" * 4096


def main() -> None:
    """Try everything."""
    state, pid = Path(sys.argv[1]), int(sys.argv[2])
    sense, outbox, proc = state / "sense", state / "outbox", Path(f"/proc/{pid}")
    segment = max(outbox.glob("*.seg"))
    attempts: Mapping[str, Callable[[], object]] = {
        "list sense's files": lambda: list(sense.iterdir()),
        "read sense's key": (sense / "signing.pem").read_bytes,
        "read its header log": (sense / "headers.log").read_bytes,
        "read a host secret": Path("/etc/shadow").read_bytes,
        "read a segment": segment.read_bytes,
        "change a segment": lambda: segment.open("r+b").close(),
        "truncate a segment": lambda: os.truncate(segment, 0),
        "delete a segment": segment.unlink,
        "rename a segment": lambda: segment.rename(outbox / "other"),
        "add a segment": (outbox / "0000000000009999.low.seg").touch,
        "replace the door": (state / "run" / "door.sock").unlink,
        "read its memory": lambda: (proc / "mem").open("rb").close(),
        "read its environment": (proc / "environ").read_bytes,
        "list its descriptors": lambda: list((proc / "fd").iterdir()),
        "trace it": lambda: ptrace(pid),
        "stop it": lambda: os.kill(pid, signal.SIGSTOP),
        "kill it": lambda: os.kill(pid, signal.SIGKILL),
        "become root": lambda: os.setuid(0),
        "knock": lambda: knock(state),
    }
    results = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            results[name] = "done"
        except OSError as error:
            results[name] = type(error).__name__
    sys.stdout.write(json.dumps(results) + "\n")


def ptrace(pid: int) -> None:
    """Attach to a process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, pid, 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")


def knock(state: Path) -> None:
    """Send through the door what nobody honest sends."""
    identity = json.loads((state / "ship" / "identity.json").read_text())
    tenant, agent = (bytes.fromhex(identity[key].replace("-", "")) for key in ("tenant", "agent"))
    receipt = Receipt(
        version=1,
        tenant=tenant,
        agent=agent,
        epoch=bytes(16),
        seq=1 << 40,
        header_hash=bytes(32),
        ledger_generation=bytes(16),
        log_size=0,
        durability=Durability.DURABLE,
        at=0,
        archived_seq=1 << 40,
    )
    forged: list[FromShip] = [
        ReceiptFrame(codec.encode_receipt(receipt), bytes(64), bytes(32)),
        Damaged("../sense/signing.pem"),
        SignRequest(1, StatementKind.ENROL, bytes(32), bytes(32)),
        Hello(999, tenant, agent),
    ]
    payloads = [*(encode_frame(encode(frame)) for frame in forged), GARBAGE]
    for payload in payloads:
        # A door that was shut for the one before lets nobody in.
        with contextlib.suppress(ConnectionError), socket.socket(socket.AF_UNIX) as door:
            door.settimeout(5)
            door.connect(str(state / "run" / "door.sock"))
            door.sendall(payload)
            while door.recv(65536):
                pass


if __name__ == "__main__":
    main()
