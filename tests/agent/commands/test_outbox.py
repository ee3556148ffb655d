import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.commands.outbox import COLUMNS
from agent.sense.headers import Committed, decode_notes, encode_note
from proto import codec, envelope
from proto.envelope import PayloadType
from runtime.frames import FrameDecoder
from tests.agent.machine import Machine

FRAME_BYTES_MAX = 4 * 1024 * 1024


def listed(machine: Machine, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    assert machine.run("outbox", "ls", "--json") == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def exported(path: Path) -> list[bytes]:
    return FrameDecoder(FRAME_BYTES_MAX).feed(path.read_bytes())


def test_each_batch_is_one_line_with_the_fields_scripts_depend_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(3)

    rows = listed(machine, capsys)

    assert [(row["seq"], row["records"], row["body"]) for row in rows] == [
        (1, 1, "kept"),
        (2, 2, "kept"),
        (3, 3, "kept"),
    ]
    for row in rows:
        assert tuple(row) == COLUMNS
        assert row["priority"] == "low"
        assert row["sealed_at"] == machine.host.clock.wall_ns()


def test_a_body_that_was_freed_is_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(2)
    for segment in Path(machine.paths.outbox).iterdir():
        segment.unlink()

    code = machine.run("outbox", "export", "--output", str(tmp_path / "out"))
    err = capsys.readouterr().err

    assert [row["body"] for row in listed(machine, capsys)] == ["freed", "freed"]
    assert (code, err) == (0, "0 of 2 batches written; the others were receipted and freed\n")


def test_an_export_is_every_envelope_as_it_was_sealed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).enrolled()
    sealed = machine.seals(3)

    code = machine.run("outbox", "export", "--output", str(tmp_path / "out"))

    envelopes = [codec.decode_envelope(frame) for frame in exported(tmp_path / "out")]
    assert code == 0
    assert [one[0] for one in envelopes] == [batch.header for batch in sealed]
    for header, signature, _ in envelopes:
        envelope.verify(PayloadType.BATCH, header, signature, machine.host.key.public)
    assert capsys.readouterr().err.startswith("3 of 3 batches written")


def test_an_export_may_go_down_a_pipe(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(2)
    command = [sys.executable, "-P", "-m", "agent", "outbox", "export"]

    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            [*command, "--config", str(machine.config)],
            stdout=out,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
            timeout=30,
        )

    assert done.returncode == 0
    assert done.stderr == "2 of 2 batches written; the others were receipted and freed\n"
    assert len(exported(tmp_path / "out")) == 2


def test_an_export_that_cannot_be_written_is_a_failure_and_not_called_freed(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(2)
    command = [sys.executable, "-P", "-m", "agent", "outbox", "export"]

    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*command, "--config", str(machine.config)],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
            timeout=30,
        )

    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_an_export_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(1)
    (tmp_path / "out").write_text("mine")

    code = machine.run("outbox", "export", "--output", str(tmp_path / "out"))

    assert code == 1
    assert "File exists" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_damage_in_a_batch_that_should_be_there_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(1)
    (segment,) = Path(machine.paths.outbox).iterdir()
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(data)

    code = machine.run("outbox", "export", "--output", str(tmp_path / "out"))

    assert code == 1
    assert capsys.readouterr().err.startswith("vedette-agent: ")


def test_looking_changes_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(2)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    machine.run("outbox", "ls")
    machine.run("outbox", "export", "--output", os.devnull)

    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("is_enrolled", [True, False])
def test_where_nothing_was_sealed_there_is_nothing_to_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, is_enrolled: bool
) -> None:
    machine = Machine(tmp_path)
    if is_enrolled:
        machine.enrolled()

    assert listed(machine, capsys) == []


def test_a_log_that_cannot_be_read_says_as_whom_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).enrolled()
    (machine.sense / "headers.log").mkdir()

    code = machine.run("outbox", "ls")

    assert code == 1
    assert "run as root or as the sense user" in capsys.readouterr().err


def test_an_old_batch_whose_header_was_let_go_is_listed_by_its_body(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).enrolled()
    machine.seals(2)
    log = machine.sense / "headers.log"
    notes = [note for *_, note in decode_notes(log.read_bytes())]
    slim = [
        replace(n, batches=tuple(replace(b, header=b"", signature=b"") for b in n.batches))
        if isinstance(n, Committed)
        else n
        for n in notes
    ]
    log.write_bytes(b"".join(map(encode_note, slim)))

    rows = listed(machine, capsys)

    assert [row["sealed_at"] for row in rows] == [machine.host.clock.wall_ns()] * 2
    for segment in Path(machine.paths.outbox).iterdir():
        segment.unlink()
    assert [(row["sealed_at"], row["priority"]) for row in listed(machine, capsys)] == [
        (None, "low")
    ] * 2
