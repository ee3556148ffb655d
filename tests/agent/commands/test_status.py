import json
from pathlib import Path

import pytest

from agent.commands.status import read_state
from agent.identity import load_identity
from runtime.files import FileLock
from tests.agent.machine import Machine
from tests.agent.sense.builders import a_batch

FIELDS = {
    "agent",
    "tenant",
    "collector",
    "sense_running",
    "stopped_cleanly",
    "epochs",
    "epoch",
    "batches_kept",
    "batches_owed",
    "records_owed",
    "outbox_bytes",
}


def test_the_state_is_one_object_with_the_fields_scripts_depend_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(3)

    code = machine.run("status", "--json")

    (line,) = capsys.readouterr().out.splitlines()
    state = json.loads(line)
    assert code == 3
    assert set(state) == FIELDS
    identity = load_identity(machine.sense)
    assert (state["agent"], state["tenant"]) == (identity.agent, identity.tenant)
    assert (state["batches_kept"], state["batches_owed"], state["records_owed"]) == (3, 3, 6)
    assert state["epochs"] == 1
    assert state["outbox_bytes"] > 0


def test_what_was_receipted_is_not_owed(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(3, receipted=2)

    state = read_state(machine.settings)

    assert (state["batches_owed"], state["records_owed"]) == (1, 3)


def test_an_epoch_that_owes_nothing_does_not_settle_another(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(2, receipted=2)
    machine.seals(1)

    state = read_state(machine.settings)

    assert (state["epochs"], state["batches_owed"]) == (2, 1)


@pytest.mark.parametrize("crashes", [True, False])
def test_a_crash_is_told_from_a_clean_stop(tmp_path: Path, *, crashes: bool) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(1, crashes=crashes)

    assert read_state(machine.settings)["stopped_cleanly"] is not crashes


def test_a_daemon_that_holds_its_lock_runs_and_is_exit_0(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    lock = FileLock(machine.sense / "lock")
    lock.acquire()

    running = machine.run("status")
    lock.release()
    stopped = machine.run("status")

    assert (running, stopped) == (0, 3)


def test_a_host_that_has_sealed_nothing_owes_nothing(tmp_path: Path) -> None:
    state = read_state(Machine(tmp_path).enrolled().settings)

    assert (state["epoch"], state["epochs"], state["batches_owed"]) == (None, 0, 0)
    assert state["outbox_bytes"] == 0


def test_a_person_sees_one_line_a_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(1)

    machine.run("status")

    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == FIELDS


def test_a_damaged_log_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(2)
    log = machine.sense / "headers.log"
    log.write_bytes(log.read_bytes() + b"\xff" * 100)

    assert read_state(machine.settings)["batches_kept"] == 2


def test_files_that_are_no_segments_are_not_counted_and_no_error(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    for name in ("x.seg", "note", "0000000000000001.low.seg.part"):
        (Path(machine.paths.outbox) / name).write_bytes(b"12345")

    assert read_state(machine.settings)["outbox_bytes"] == 0


def test_what_was_evicted_and_declared_is_not_owed(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    outbox, sealer = machine.outbox(), machine.host.sealer()
    outbox.open(machine.host.key.public)
    for _ in range(90):
        outbox.commit([a_batch(sealer, padding=60_000)], {}, 1)
    owed = outbox.owed
    outbox.close()

    state = read_state(machine.settings)

    assert 0 < owed < 90
    assert (state["batches_kept"], state["batches_owed"]) == (owed, owed)
