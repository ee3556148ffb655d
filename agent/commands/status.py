"""``status``: who this agent is and what it still owes."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agent.commands.common import add_json, settings_of
from agent.config import AgentSettings
from agent.identity import load_identity
from agent.sense.headers import (
    Committed,
    Freed,
    Opened,
    Receipted,
    Sealed,
    Stopped,
    decode_notes,
)
from agent.sense.segstore import SegmentStore
from proto.uids import show
from runtime.files import is_locked

COLUMNS = ("what", "value")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the state; exit 3 when a half is not running.

    Raises:
        NotEnrolled: there is no identity yet (exit 6).
    """
    settings = settings_of(args)
    state = read_state(settings)
    if args.json:
        sys.stdout.write(json.dumps(state) + "\n")
    else:
        for name, value in state.items():
            sys.stdout.write(f"{name:<22} {value}\n")
    return 0 if state["sense_running"] else 3


def read_state(settings: AgentSettings) -> dict[str, object]:
    """Return what the files of a daemon, running or not, say of it.

    Raises:
        NotEnrolled: there is no identity yet.
    """
    directory = Path(settings.paths.sense)
    identity = load_identity(directory)
    sealed: dict[tuple[bytes, int], Sealed] = {}
    settled: dict[bytes, tuple[int, tuple[int, ...]]] = {}
    epochs = 0
    is_clean = False
    for note in _notes(directory / "headers.log"):
        is_clean = isinstance(note, Stopped)
        match note:
            case Opened():
                epochs += 1
            case Committed():
                for batch in note.batches:
                    sealed[batch.epoch, batch.seq] = batch
            case Receipted():
                settled[note.epoch] = (note.seq, note.ahead)
            case Freed():
                # Receipted before, or dropped and declared: nothing of it is owed.
                sealed = {key: b for key, b in sealed.items() if b.segment != note.segment}
            case _:
                continue
    owed = [
        batch.records
        for (epoch, seq), batch in sealed.items()
        if seq > settled.get(epoch, (0, ()))[0] and seq not in settled.get(epoch, (0, ()))[1]
    ]
    return {
        "agent": identity.agent,
        "tenant": identity.tenant,
        "collector": identity.intake,
        "sense_running": is_locked(directory / "lock"),
        "stopped_cleanly": is_clean,
        "epochs": epochs,
        "epoch": show(next(reversed(sealed))[0]) if sealed else None,
        "batches_kept": len(sealed),
        "batches_owed": len(owed),
        "records_owed": sum(owed),
        "outbox_bytes": _outbox_bytes(Path(settings.paths.outbox)),
    }


def _notes(path: Path) -> Iterator[msgspec.Struct]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for *_, note in decode_notes(data):
        yield note


def _outbox_bytes(path: Path) -> int:
    if not path.is_dir():
        return 0
    return sum(size for _, size in SegmentStore(path, None).present())
