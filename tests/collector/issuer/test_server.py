import asyncio
import contextlib
import ctypes
import os
import platform
import socket
import sqlite3
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from certs.identity import TenantId
from collector.issuer.agents import State
from collector.issuer.client import IssuerClient
from collector.issuer.errors import IssuerBusy, IssuerRefused, IssuerUnready, Refusal
from collector.issuer.messages import (
    FRAME_BYTES_MAX,
    AgentPage,
    Begin,
    Begun,
    Changes,
    Enroll,
    Issued,
    ListAgents,
    Revoke,
    Standing,
    Watch,
    encode,
)
from collector.issuer.server import serve
from proto.model import StatementKind
from runtime.errors import VedetteError
from runtime.files import AlreadyRunning, FileLock
from runtime.frames import encode_frame
from tests.collector.issuer.builders import Host, House, a_house, a_secret, an_enrolled_host

WAIT_S = 10


@contextlib.asynccontextmanager
async def serving(house: House) -> AsyncIterator[IssuerClient]:
    """A running issuer on the house's files, and a client of it."""
    house.desk.close()
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(house.settings, house.clock, stop, ready.set))
        async with asyncio.timeout(WAIT_S):
            await ready.wait()
        client = IssuerClient(house.settings.socket, connections_max=64)
        try:
            yield client
        finally:
            await client.close()
            stop.set()


async def enrolled(client: IssuerClient, request: Enroll) -> Issued | VedetteError:
    try:
        return await client.call(request, Issued)
    except VedetteError as error:
        return error


async def test_of_fifty_redemptions_of_one_token_at_once_one_gets_a_certificate(
    tmp_path: Path,
) -> None:
    house = a_house(tmp_path)
    secret = a_secret(house.desk, house.tenant)
    async with serving(house) as client:
        requests = []
        for _ in range(50):
            host = Host(house.tenant, house.clock)
            begun = await client.call(Begin(tenant=house.tenant), Begun)
            requests.append(request_with(host, secret, begun.nonce))

        outcomes = await asyncio.gather(*(enrolled(client, request) for request in requests))
        agents = await client.call(ListAgents(tenant=house.tenant), AgentPage)

    issued = [outcome for outcome in outcomes if isinstance(outcome, Issued)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, IssuerRefused)]
    assert (len(issued), len(refused)) == (1, 49)
    assert {(error.reason, str(error)) for error in refused} == {(Refusal.TOKEN, str(refused[0]))}
    assert [agent.identity for agent in agents.agents] == [issued[0].agent.identity]


def request_with(host: Host, secret: bytes, nonce: bytes) -> Enroll:
    said = host.signed(host.statement(StatementKind.ENROL, nonce))
    return Enroll(secret=secret, csr=host.csr, statement=said, source="192.0.2.7")


async def test_a_watcher_is_told_of_a_revocation_at_once(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    host = an_enrolled_host(house)
    async with serving(house) as client:
        known = (await client.call(Watch(after=0, wait_s=0), Changes)).revision
        watching = asyncio.ensure_future(client.call(Watch(after=known, wait_s=20), Changes, 25))
        await asyncio.sleep(0.05)
        assert not watching.done()

        started = time.monotonic()
        await client.call(Revoke(peer=host.peer, reason="stolen"), Standing)
        changes = await watching

    assert time.monotonic() - started < 2
    assert [agent.identity for agent in changes.agents] == [host.peer]
    assert changes.revision > known


async def test_a_watcher_who_waits_in_vain_is_answered_at_the_end(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    async with serving(house) as client:
        known = (await client.call(Watch(after=0, wait_s=0), Changes)).revision

        started = time.monotonic()
        changes = await client.call(Watch(after=known, wait_s=0.2), Changes)

    assert (changes.revision, changes.agents) == (known, ())
    assert 0.15 < time.monotonic() - started < 2


async def test_looking_wakes_nobody(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    async with serving(house) as client:
        known = (await client.call(Watch(after=0, wait_s=0), Changes)).revision
        watching = [
            asyncio.ensure_future(client.call(Watch(after=known, wait_s=0.3), Changes))
            for _ in range(3)
        ]
        started = time.process_time()
        await asyncio.gather(*watching)

    assert time.process_time() - started < 0.25


async def test_requests_without_a_certificate_are_capped_together(tmp_path: Path) -> None:
    house = a_house(tmp_path, requests_per_s_max=5)
    async with serving(house) as client:
        outcomes = []
        for _ in range(8):
            try:
                await client.call(Begin(tenant=house.tenant), Begun)
            except IssuerBusy as error:
                outcomes.append(error.retry_after_s > 0)
            else:
                outcomes.append(False)
        await client.call(ListAgents(tenant=house.tenant), AgentPage)

    assert outcomes == [False] * 5 + [True] * 3


async def test_an_unknown_tenant_is_refused_over_the_socket(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    async with serving(house) as client:
        with pytest.raises(IssuerRefused) as caught:
            await client.call(Begin(tenant=TenantId(bytes(16))), Begun)

    assert caught.value.reason is Refusal.TENANT


@contextlib.contextmanager
def database_held(house: House) -> Iterator[None]:
    """Hold the database's one write lock, as a stuck backup would."""
    path = house.settings.home / "issuer.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


async def test_a_database_that_is_held_makes_the_issuer_busy_and_not_deaf(tmp_path: Path) -> None:
    house = a_house(tmp_path, operation_s_max=1, pending_max=1)
    host = an_enrolled_host(house)
    cut_off = Revoke(peer=host.peer, reason="stolen")
    async with serving(house) as client:
        await client.call(Begin(tenant=house.tenant), Begun)
        with database_held(house):
            with pytest.raises(IssuerBusy, match="slow"):
                await client.call(cut_off, Standing)
            with pytest.raises(IssuerBusy, match="too many"):
                await client.call(cut_off, Standing)
        await until_free(client, house)

        standing = await client.call(cut_off, Standing)

    assert standing.agent.state is State.REVOKED


async def until_free(client: IssuerClient, house: House) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            with contextlib.suppress(IssuerBusy):
                await client.call(Begin(tenant=house.tenant), Begun)
                return
            await asyncio.sleep(0.02)


def talk(path: Path, data: bytes) -> bytes:
    """Send bytes and return what comes until the other end closes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(WAIT_S)
        connection.connect(str(path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while part := connection.recv(65_536):
            found += part
    return found


@pytest.mark.parametrize(
    ("data", "answered"),
    [
        (struct.pack(">I", FRAME_BYTES_MAX + 1) + b"x", False),
        (struct.pack(">I", 0), False),
        (struct.pack(">I", 10) + b"cut", False),
        (b"", False),
        (struct.pack(">I", 5) + b"hello", True),
        (struct.pack(">I", 1) + b"\xc0", True),
    ],
    ids=["too large", "empty frame", "cut short", "nothing", "no message", "nil"],
)
async def test_bad_bytes_end_in_a_refusal_or_a_closed_connection_and_serving_goes_on(
    tmp_path: Path, data: bytes, answered: bool
) -> None:
    house = a_house(tmp_path)
    async with serving(house) as client:
        found = await asyncio.to_thread(talk, house.settings.socket, data)

        assert bool(found) is answered
        assert b"malformed" in found or not answered
        await client.call(Begin(tenant=house.tenant), Begun)


async def test_a_connection_over_the_cap_is_closed_and_the_others_go_on(tmp_path: Path) -> None:
    house = a_house(tmp_path, connections_max=2)
    async with serving(house) as client:
        await client.call(Begin(tenant=house.tenant), Begun)
        idle = [await asyncio.open_unix_connection(house.settings.socket) for _ in range(3)]

        async with asyncio.timeout(WAIT_S):
            ends = [await reader.read(1) for reader, _ in idle[1:]]

        assert ends == [b"", b""]
        await client.call(Begin(tenant=house.tenant), Begun)
        for _, writer in idle:
            writer.close()


async def test_a_frame_that_never_ends_is_given_up(tmp_path: Path) -> None:
    house = a_house(tmp_path, operation_s_max=1)
    async with serving(house):
        reader, writer = await asyncio.open_unix_connection(house.settings.socket)
        writer.write(struct.pack(">I", 100) + b"x")

        async with asyncio.timeout(WAIT_S):
            assert await reader.read(1) == b""

        writer.close()


async def test_two_issuers_never_serve_one_home(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    async with serving(house):
        other = msgspec.structs.replace(house.settings, socket=tmp_path / "other.sock")

        with pytest.raises(AlreadyRunning):
            await serve(other, house.clock, asyncio.Event(), lambda: None)


async def test_a_socket_that_a_crash_left_behind_is_replaced(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(house.settings.socket))

    async with serving(house) as client:
        await client.call(Begin(tenant=house.tenant), Begun)
        assert house.settings.socket.stat().st_mode & 0o777 == 0o600

    assert not house.settings.socket.exists()


async def test_where_other_users_are_named_they_can_reach_the_socket(tmp_path: Path) -> None:
    house = a_house(tmp_path, gateway_uids=(60_001,))

    async with serving(house):
        assert house.settings.socket.stat().st_mode & 0o777 == 0o666


async def test_a_file_in_place_of_the_socket_is_not_removed(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    house.desk.close()
    house.settings.socket.write_text("mine")

    with pytest.raises(IssuerUnready):
        await serve(house.settings, house.clock, asyncio.Event(), lambda: None)

    assert house.settings.socket.read_text() == "mine"


async def test_where_nothing_is_set_up_serving_does_not_begin(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    house.desk.close()
    empty = msgspec.structs.replace(house.settings, home=tmp_path / "empty")

    with pytest.raises(IssuerUnready):
        await serve(empty, house.clock, asyncio.Event(), lambda: None)


async def test_stopping_lets_go_of_everything(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    async with serving(house) as client:
        await client.call(Begin(tenant=house.tenant), Begun)

    lock = FileLock(house.settings.home / "issuer.lock")
    lock.acquire()
    lock.release()


SETRESUID = {"x86_64": 117, "aarch64": 147}


@contextlib.contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Give this thread alone the effective user id, by the bare system call."""
    number = SETRESUID[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(number, -1, uid, -1) == 0
    try:
        yield
    finally:
        assert libc.syscall(number, -1, 0, -1) == 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter."""
    with tempfile.TemporaryDirectory(prefix="vedette-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.root
async def test_a_user_nobody_named_is_refused_by_what_the_kernel_says(
    tmp_path: Path, open_folder: Path
) -> None:
    if os.geteuid() != 0 or platform.machine() not in SETRESUID:
        pytest.skip("only root can become another user")
    house = a_house(tmp_path, gateway_uids=(60_001,), socket=open_folder / "issuer.sock")
    question = encode_frame(encode(Begin(tenant=house.tenant)))

    def ask_as(uid: int) -> bytes:
        with as_user(uid):
            return talk(house.settings.socket, question)

    async with serving(house):
        answers = [await asyncio.to_thread(ask_as, uid) for uid in (60_001, 60_003, 0)]

    assert [b"begun" in answer for answer in answers] == [True, False, True]
    assert b"caller" in answers[1]
