import asyncio
import io
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.commands.enroll import INTAKE_PORT
from agent.identity import load_identity
from tests.agent.machine import Machine
from tests.fakes.enrollment import FakeFront

WAIT_S = 10


@contextmanager
def serving() -> Iterator[FakeFront]:
    """A front on a thread of its own: the command runs a loop of its own."""
    front = FakeFront()
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with front:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(WAIT_S)
        yield front
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(WAIT_S)
        loop.close()


def a_token_file(folder: Path, text: str) -> str:
    path = folder / "token"
    path.write_text(text)
    return str(path)


def test_a_token_file_becomes_an_identity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)

    with serving() as front:
        token = a_token_file(tmp_path, front.token().encode())
        code = machine.run("enroll", front.address, "--token-file", token)

    out, err = capsys.readouterr()
    identity = load_identity(machine.sense)
    assert (code, out) == (0, "")
    assert f"enrolled as {identity.agent} of tenant {identity.tenant}\n" in err
    assert "the two halves will run as one user: both halves have one user\n" in err
    assert identity.enrollment == front.address
    assert identity.intake == f"localhost:{INTAKE_PORT}"
    assert stat.S_IMODE(machine.sense.stat().st_mode) == 0o700


def test_the_token_may_come_on_standard_input_and_the_intake_be_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path)

    with serving() as front:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{front.token().encode()}\n"))
        code = machine.run("enroll", front.address, "--intake", "other.example:7")

    assert code == 0
    assert load_identity(machine.ship).intake == "other.example:7"


def test_a_second_enrolment_is_refused_with_exit_6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path).enrolled()
    token = a_token_file(tmp_path, FakeFront().token().encode())

    code = machine.run("enroll", "localhost:1", "--token-file", token)

    err = capsys.readouterr().err
    assert code == 6
    assert "this host is enrolled already, as" in err
    assert "remove its state directory" in err


def test_a_collector_that_is_not_the_tokens_is_refused_and_nothing_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)

    with serving() as front:
        front.trust = front.a_trust(domain="elsewhere.example")
        token = a_token_file(tmp_path, front.token().encode())
        code = machine.run("enroll", front.address, "--token-file", token)

    assert code != 0
    assert "not the one the join token names" in capsys.readouterr().err
    assert not (machine.sense / "identity.json").exists()
    assert front.taken == []


def test_nobody_there_is_exit_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = a_token_file(tmp_path, FakeFront().token().encode())

    code = Machine(tmp_path).run("enroll", "localhost:1", "--token-file", token)

    assert code == 5
    assert "enrolment did not begin: unavailable" in capsys.readouterr().err


def test_what_is_no_token_is_refused_without_repeating_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = a_token_file(tmp_path, "vedette-join-1.c2VjcmV0\n")

    code = Machine(tmp_path).run("enroll", "localhost:1", "--token-file", token)

    err = capsys.readouterr().err
    assert code != 0
    assert "the join token is damaged" in err
    assert "c2VjcmV0" not in err


def test_a_token_file_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none")

    code = Machine(tmp_path).run("enroll", "localhost:1", "--token-file", missing)

    assert code == 1
    assert capsys.readouterr().err == f"vedette-agent: {missing}: No such file or directory\n"


def test_a_token_is_never_an_argument(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "agent", "enroll", "localhost:1", "vedette-join-1.c2VjcmV0"],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )

    assert done.returncode == 2


def test_an_image_joins_when_it_has_booted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)

    with serving() as front:
        prepared = machine.run("enroll", front.address, "--image")
        keys = list(Path(machine.paths.state).rglob("signing.pem"))
        token = a_token_file(tmp_path, front.token().encode())
        joined = machine.run("enroll", "--first-boot", "--token-file", token)
        again = machine.run("enroll", "--first-boot", "--token-file", token)

    assert (prepared, keys, joined, again) == (0, [], 0, 6)
    identity = load_identity(machine.sense)
    assert identity.enrollment == front.address
    assert "no key was made" in capsys.readouterr().err


def test_a_clone_is_refused_and_joins_anew_as_somebody_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)
    machine.with_golden_host()
    machine_id = Path(machine.paths.host_root) / "etc/machine-id"
    machine_id.write_text("one\n")

    with serving() as front:
        token = a_token_file(tmp_path, front.token().encode())
        assert machine.run("enroll", front.address, "--token-file", token) == 0
        original = load_identity(machine.sense)
        machine_id.write_text("two\n")
        refused = machine.run("run")
        said = capsys.readouterr().err
        token = a_token_file(tmp_path, front.token().encode())
        joined = machine.run("enroll", front.address, "--reset", "--token-file", token)

    assert (refused, joined) == (6, 0)
    assert "made on another machine" in said
    assert "--reset" in said
    assert load_identity(machine.sense).agent != original.agent
    assert list(Path(machine.paths.state).glob("replaced-*/sense/identity.json"))
    assert not list(Path(machine.paths.state).glob("replaced-*/sense/signing.pem"))


def test_a_bad_token_does_not_cost_the_identity_there_is(tmp_path: Path) -> None:
    machine = Machine(tmp_path).enrolled()
    before = load_identity(machine.sense)
    token = a_token_file(tmp_path, "nonsense")

    code = machine.run("enroll", "localhost:1", "--reset", "--token-file", token)

    assert code != 0
    assert load_identity(machine.sense) == before
    assert (machine.sense / "signing.pem").exists()


def test_the_same_machine_under_a_new_id_keeps_its_identity(tmp_path: Path) -> None:
    machine = Machine(tmp_path).with_golden_host().enrolled()
    before = load_identity(machine.sense)

    assert machine.run("enroll", "--rebind") == 0
    assert load_identity(machine.sense) == before


@pytest.mark.parametrize("words", [[], ["--image"], ["--reset"]])
def test_without_an_address_it_asks_for_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        Machine(tmp_path).run("enroll", *words)

    assert caught.value.code == 2
    assert "address is missing" in capsys.readouterr().err
