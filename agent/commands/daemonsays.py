"""What a running daemon last said of its sensors: read from the newest header it signed."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from agent.config import AgentSettings
from agent.sense.headers import Committed, decode_notes
from proto import codec
from proto.errors import WireError
from runtime.clock import NS_PER_S
from runtime.files import is_locked


class DaemonWord(Struct, frozen=True):
    """A sensor's state as the daemon sealed it; ages as of that seal, -1 for never."""

    state: str
    rung: str
    last_success_age_s: int
    dropped: int


def daemon_words(settings: AgentSettings) -> Mapping[str, DaemonWord]:
    """Return what is in the newest header, by sensor; nothing where no daemon runs.

    Whoever may not read the daemon's files hears nothing of it, either.
    """
    directory = Path(settings.paths.sense)
    try:
        if not is_locked(directory / "lock"):
            return {}
        data = (directory / "headers.log").read_bytes()
    except OSError:
        return {}
    newest = None
    for *_, note in decode_notes(data):
        if isinstance(note, Committed) and note.batches:
            newest = note.batches[-1]
    if newest is None:
        return {}
    try:
        header = codec.decode_header(newest.header)
    except WireError:
        return {}
    return {
        status.sensor: DaemonWord(
            state=status.state.value,
            rung=status.rung,
            last_success_age_s=(
                max(0, header.wall - status.last_success) // NS_PER_S if status.last_success else -1
            ),
            dropped=status.dropped,
        )
        for status in header.sensors
    }
