import os
from pathlib import Path

from agent.identity import SIGNING_KEY
from agent.sense.outbox import Outbox, OutboxSettings
from bench import backlog
from certs.keyring import load_signing_key
from tests.agent.machine import Machine


def test_what_was_filled_in_is_owed_and_opens_again(tmp_path: Path) -> None:
    state = Machine(tmp_path).enrolled().sense.parent

    count = backlog.fill(state, 6 * 1024 * 1024)

    outbox = Outbox(state / "sense" / "headers.log", state / "outbox", OutboxSettings())
    outbox.open(load_signing_key(state / "sense" / SIGNING_KEY).public)
    assert outbox.owed == count > 0
    assert outbox.size_bytes >= 6 * 1024 * 1024
    assert (state / "sense" / "headers.log").stat().st_uid == os.geteuid()
    outbox.close()
