"""The laws of the networked half: whatever ends, it goes on, and it keeps nothing back."""

import asyncio
import contextlib
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography import x509

from agent import doorframes as frames
from agent.identity import AgentIdentity
from agent.settings import MetricsSettings, PathSettings, UplinkSettings
from agent.ship import app
from agent.ship.app import Parts, Ship
from agent.ship.credentials import load_credentials, save_identity
from certs.identity import AgentId, PeerIdentity
from proto import codec
from proto.model import HintKind, Priority, StatementKind
from proto.vedette.v1.envelope_pb2 import (
    HINT_KIND_CONTENT_CHANGED,
    HINT_KIND_RENEW,
    Hint,
    Reply,
)
from runtime.clock import NS_PER_S, SystemClock
from tests.agent.sense.builders import Host
from tests.certs.builders import DOMAIN, TENANT, a_leaf
from tests.fakes.enrollment import FakeFront
from tests.fakes.sense import OWED, FakeSense

LOW, HIGH = Priority.LOW, Priority.HIGH
HOUR_NS = 3600 * NS_PER_S
QUICK = UplinkSettings(
    connect_timeout_s=2, receipt_timeout_s=2, retry_wait_s_first=0.01, retry_wait_s_max=0.05
)


class Site:
    """A collector, a `sense` and the `ship` between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.front = FakeFront(asks=True, age_ns=240 * HOUR_NS)
        self.host = Host()
        self.paths = PathSettings(state=str(folder), run=str(folder))
        for name in ("sense", "outbox", "ship"):
            (folder / name).mkdir()
        self.sense = FakeSense(folder, Path(self.paths.door), self.host)
        self.port = 0
        self.running: asyncio.Task[None] | None = None
        self.certify(24 * HOUR_NS)

    def certify(self, left_ns: int, life_ns: int = 24 * HOUR_NS) -> None:
        """Give `ship` a certificate with so much of its life left."""
        now = time.time_ns()
        peer = PeerIdentity(TENANT, AgentId(self.host.agent))
        key, leaf = a_leaf(self.front.pki.tenant, now + min(0, left_ns - life_ns), peer)
        received, ends = now + left_ns - life_ns, now + left_ns
        save_identity(Path(self.paths.ship), key, (leaf.chain_pem, received, ends))

    @property
    def identity(self) -> AgentIdentity:
        return AgentIdentity(
            tenant=str(TENANT),
            agent=str(AgentId(self.host.agent)),
            domain=DOMAIN,
            intake=self.front.address,
            enrollment=self.front.open_address,
        )

    def start(self) -> None:
        numbers = itertools.cycle((0.1, 0.5, 0.9))
        ship = Ship(
            Parts(
                identity=self.identity,
                trust=self.front.trust,
                paths=self.paths,
                uplink=QUICK,
                metrics=MetricsSettings(port=self.port),
                clock=SystemClock(),
                random=lambda: next(numbers),
            )
        )
        self.running = asyncio.ensure_future(ship.run())

    async def stop(self) -> None:
        if self.running is not None:
            self.running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.running
            self.running = None

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                assert self.running is None or not self.running.done()
                await asyncio.sleep(0.01)

    def receipted(self) -> set[int]:
        told = self.sense.of(frames.ReceiptFrame)
        return {codec.decode_receipt(frame.payload).seq for frame in told}

    def seqs(self) -> set[int]:
        return {codec.decode_header(sent.header).seq for sent in self.front.taken_batches}


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(app, "DOOR_RETRY_S_FIRST", 0.01)
    monkeypatch.setattr(app, "DOOR_RETRY_S_MAX", 0.05)
    monkeypatch.setattr(app, "RENEW_RETRY_S", 0.05)
    monkeypatch.setattr(app, "CHECKPOINT_WAIT_S_FIRST", 0.05)
    # A socket's path is short.
    with tempfile.TemporaryDirectory(prefix="ship-") as folder:
        site = Site(Path(folder))
        try:
            yield site
        finally:
            await site.stop()
            await site.sense.stop()
            site.sense.outbox.close()


async def test_what_is_sealed_arrives_and_its_receipt_goes_to_sense(site: Site) -> None:
    batches = site.sense.seal(LOW, HIGH)
    async with site.front:
        await site.sense.start()
        site.start()
        await site.until(lambda: site.receipted() == {1, 2})
        batches += site.sense.seal(LOW)
        await site.until(lambda: site.receipted() == {1, 2, 3})
        await site.stop()

    # The collector says where it stands, so what went before that may go twice.
    sent = {(s.header, s.signature, s.body) for s in site.front.taken_batches}
    assert sent == {(b.header, b.signature, b.body) for b in batches}
    assert isinstance(site.sense.heard[0], frames.Hello)
    assert frames.Uplink(is_online=True) in site.sense.heard


async def test_a_sense_that_restarts_is_found_again_and_told_of_the_uplink(site: Site) -> None:
    async with site.front:
        await site.sense.start()
        site.start()
        site.sense.seal(LOW)
        await site.until(lambda: site.seqs() == {1})
        await site.until(lambda: frames.Uplink(is_online=True) in site.sense.heard)
        await site.sense.stop()
        site.sense.seal(LOW)
        await asyncio.sleep(0.1)
        site.sense.heard.clear()
        await site.sense.start()
        await site.until(lambda: site.seqs() == {1, 2})
        # A new `sense` knows nothing: content is looked for only while there is an uplink.
        await site.until(lambda: frames.Uplink(is_online=True) in site.sense.heard)


async def test_a_collector_that_restarts_is_found_again_and_misses_nothing(site: Site) -> None:
    await site.sense.start()
    async with site.front:
        site.start()
        site.sense.seal(LOW)
        await site.until(lambda: site.seqs() == {1})
    await site.until(lambda: frames.Uplink(is_online=False) in site.sense.heard)
    site.sense.seal(LOW, HIGH)
    async with site.front:
        await site.until(lambda: site.seqs() == {1, 2, 3})


async def test_a_ship_that_restarts_sends_what_is_there_and_tells_every_receipt(
    site: Site,
) -> None:
    site.sense.seal(LOW, LOW)
    await site.sense.start()
    async with site.front:
        site.start()
        await site.until(lambda: site.seqs() == {1, 2})
        await site.stop()
        site.sense.seal(HIGH)
        site.sense.heard.clear()
        site.start()
        await site.until(lambda: site.seqs() == {1, 2, 3})
        await site.until(lambda: site.receipted() == {1, 2, 3})


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\1x", b"\0\0\0\2\x91\x63"])
async def test_bytes_that_are_no_frame_of_sense_cost_one_connection(
    site: Site, data: bytes
) -> None:
    await site.sense.start()
    async with site.front:
        site.start()
        await site.until(lambda: len(site.sense.of(frames.Hello)) == 1)
        site.sense.send_raw(data)
        await site.until(lambda: len(site.sense.of(frames.Hello)) == 2)
        site.sense.seal(LOW)
        await site.until(lambda: site.seqs() == {1})


async def test_a_name_that_is_no_segments_opens_nothing(site: Site) -> None:
    await site.sense.start()
    async with site.front:
        site.start()
        await site.until(lambda: len(site.sense.of(frames.Hello)) == 1)
        shown = frames.VisibleSegment("../ship/tls.json", b"e" * 16, 4096)
        site.sense.send(frames.VisibleFrame((shown,), is_all=False))
        await site.until(lambda: len(site.sense.of(frames.Hello)) == 2)

    assert site.front.taken_batches == []


async def test_half_way_through_its_life_a_certificate_is_renewed_with_a_new_key(
    site: Site,
) -> None:
    site.certify(left_ns=9 * HOUR_NS)
    before = load_credentials(Path(site.paths.ship))
    await site.sense.start()
    async with site.front:
        site.start()
        await site.until(lambda: len(site.front.shown) >= 2)
        site.sense.seal(LOW)
        await site.until(lambda: site.seqs() == {1})

    after = load_credentials(Path(site.paths.ship))
    assert after.not_after > before.not_after
    assert after.identity.key.to_pem() != before.identity.key.to_pem()
    # The new certificate is the one that is shown from then on.
    old, new = site.front.shown[0], site.front.shown[-1]
    assert old != new
    assert new == x509.load_pem_x509_certificate(after.identity.chain_pem).serial_number
    (request,) = site.sense.of(frames.SignRequest)
    assert request.kind is StatementKind.RENEW


async def test_a_renewal_that_is_refused_is_tried_again_and_stops_nothing(site: Site) -> None:
    site.certify(left_ns=9 * HOUR_NS)
    site.sense.is_willing = False
    await site.sense.start()
    async with site.front:
        site.start()
        await site.until(lambda: len(site.sense.of(frames.SignRequest)) >= 3)
        site.sense.seal(LOW)
        await site.until(lambda: site.seqs() == {1})
        site.sense.is_willing = True
        await site.until(lambda: len(site.front.shown) >= 2)


async def test_a_hint_to_renew_is_followed_early(site: Site) -> None:
    site.front.greeting = [Reply(hint=Hint(kind=HINT_KIND_RENEW))]
    await site.sense.start()
    async with site.front:
        site.start()
        await site.until(lambda: bool(site.sense.of(frames.SignRequest)))
        site.front.greeting = []
        await site.until(lambda: len(site.front.shown) >= 2)


async def test_a_host_that_was_away_too_long_comes_back_by_its_signing_key(site: Site) -> None:
    site.certify(left_ns=-3 * 24 * HOUR_NS)
    await site.sense.start()
    async with site.front:
        site.start()
        site.sense.seal(LOW)
        await site.until(lambda: site.seqs() == {1})

    assert site.sense.of(frames.SignRequest)[0].kind is StatementKind.REATTEST
    assert load_credentials(Path(site.paths.ship)).not_after > time.time_ns()


async def test_a_connection_lost_under_a_renewal_does_not_end_renewing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.certify(left_ns=9 * HOUR_NS)
    site.front.is_slow_to_challenge = True
    await site.sense.start()
    async with site.front:
        site.start()
        await site.until(lambda: site.front.challenges == 1)
        site.front.end_streams()
        await site.until(lambda: len(site.front.shown) >= 2)
        site.front.is_slow_to_challenge = False
        await site.until(lambda: bool(site.sense.of(frames.SignRequest)))


async def test_content_is_fetched_for_sense_and_what_fails_is_said(site: Site) -> None:
    site.front.files = {"timestamp.json": b"0123456789"}
    await site.sense.start()
    async with site.front:
        site.start()
        await site.until(lambda: frames.Uplink(is_online=True) in site.sense.heard)
        site.sense.send(frames.Fetch(1, "timestamp.json", 4), frames.Fetch(2, "none.json", 0))
        await site.until(lambda: len(site.sense.of(frames.Chunk)) == 2)

    chunks = {chunk.id: chunk for chunk in site.sense.of(frames.Chunk)}
    assert (chunks[1].data, chunks[1].total, chunks[1].error) == (b"4567", 10, "")
    assert chunks[2].data == b""
    assert chunks[2].error


async def test_content_asked_for_while_nobody_is_connected_is_answered(site: Site) -> None:
    async with site.front:
        pass
    await site.sense.start()
    site.start()
    await site.until(lambda: len(site.sense.of(frames.Hello)) == 1)
    for number in range(8):
        site.sense.send(frames.Fetch(number, "timestamp.json", 0))

    await site.until(lambda: len(site.sense.of(frames.Chunk)) == 8)

    assert all(chunk.error for chunk in site.sense.of(frames.Chunk))


async def test_hints_go_to_whom_they_concern(site: Site) -> None:
    site.front.greeting = [
        Reply(hint=Hint(kind=HINT_KIND_CONTENT_CHANGED)),
        Reply(hint=Hint(kind=77)),  # type: ignore[arg-type]
    ]
    await site.sense.start()
    async with site.front:
        site.start()
        await site.until(lambda: bool(site.sense.of(frames.HintFrame)))

    assert {hint.kind for hint in site.sense.of(frames.HintFrame)} == {HintKind.CONTENT_CHANGED}


async def test_the_growth_of_the_log_is_passed_on_from_the_size_sense_knows(site: Site) -> None:
    site.front.checkpoint = b"log.example/x\n9\naGFzaA==\n"
    await site.sense.start()
    async with site.front:
        site.start()
        await site.until(lambda: bool(site.sense.of(frames.CheckpointFrame)))
        first = site.sense.of(frames.CheckpointFrame)[0]

    assert first == frames.CheckpointFrame(site.front.checkpoint, ())
    assert site.front.asked_growth == []


async def test_metrics_of_both_halves_are_served_on_loopback(site: Site) -> None:
    site.port = await a_free_port()
    site.sense.seal(LOW, LOW)
    await site.sense.start()
    async with site.front:
        site.start()
        await site.until(lambda: site.seqs() == {1, 2})
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        page = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()

    assert page.startswith("HTTP/1.1 200 OK")
    assert f"{OWED} 2.0" in page
    assert "vedette_agent_uplink_online 1.0" in page
    assert "vedette_agent_certificate_expiry_timestamp_seconds" in page


async def test_a_metrics_port_that_is_taken_stops_no_batch(site: Site) -> None:
    taken = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    site.port = taken.sockets[0].getsockname()[1]
    site.sense.seal(LOW)
    await site.sense.start()
    async with site.front:
        site.start()
        await site.until(lambda: site.seqs() == {1})
    taken.close()


async def test_a_stop_is_quick_and_leaves_nothing_behind(site: Site) -> None:
    await site.sense.start()
    async with site.front:
        site.start()
        site.sense.seal(LOW)
        await site.until(lambda: site.seqs() == {1})
        tasks = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        start = time.monotonic()
        await site.stop()
        left = {t.get_name() for t in tasks & asyncio.all_tasks()}

    assert time.monotonic() - start < 3
    assert not left & {"door", "uplink", "certificate", "checkpoint"}


async def a_free_port() -> int:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    return port
