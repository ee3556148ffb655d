"""The privileged half as its visitor sees it: a door, an outbox behind it, and a signing key."""

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from agent import doorframes as frames
from agent.errors import DoorError
from agent.sense.outbox import Outbox
from agent.sense.seal import SealedBatch
from agent.sense.statements import StatementDesk
from proto.model import Priority
from runtime.frames import FrameDecoder, encode_frame
from tests.agent.sense.builders import SMALL, Host, a_batch

F = TypeVar("F", bound=frames.FromShip)


class FakeSense:
    """Serves one visitor at a time; start it again after `stop` to be a `sense` that restarted.

    Args:
        state: holds ``sense`` and ``outbox``.
        door: path of the socket.
        host: whose key signs.
    """

    def __init__(self, state: Path, door: Path, host: Host) -> None:
        self.door = door
        self.host = host
        self.sealer = host.sealer()
        self.outbox = Outbox(state / "sense" / "headers.log", state / "outbox", SMALL)
        self.outbox.open(host.key.public)
        self.desk = StatementDesk(host.key, host.key.public.raw, host.facts, host.clock)
        self.heard: list[frames.FromShip] = []
        self.is_willing = True
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.door)

    async def stop(self) -> None:
        """End as a process does: the socket file stays, the connection does not."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self.door.unlink(missing_ok=True)

    def seal(self, *priorities: Priority) -> list[SealedBatch]:
        batches = [a_batch(self.sealer, priority=priority) for priority in priorities]
        self.outbox.commit(batches, {}, 1)
        self.show()
        return batches

    def show(self) -> None:
        shown = (
            frames.VisibleSegment(str(v.segment), v.epoch, v.durable) for v in self.outbox.visible()
        )
        self.send(frames.VisibleFrame(tuple(shown), is_all=True))

    def send(self, *sent: frames.FromSense) -> None:
        if self._writer is not None:
            self._writer.write(b"".join(encode_frame(frames.encode(frame)) for frame in sent))

    def send_raw(self, data: bytes) -> None:
        if self._writer is not None:
            self._writer.write(data)

    def of(self, kind: type[F]) -> list[F]:
        return [frame for frame in self.heard if isinstance(frame, kind)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        facts = self.host.facts
        self.send(frames.Hello(frames.DOOR_VERSION, facts.tenant, facts.agent))
        self.show()
        decoder = FrameDecoder(frames.FRAME_BYTES_MAX)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self._take(frames.decode_from_ship(raw) for raw in decoder.feed(data))
        writer.close()

    def _take(self, taken: Iterable[frames.FromShip]) -> None:
        for frame in taken:
            self.heard.append(frame)
            if isinstance(frame, frames.SignRequest):
                self.send(self._signed(frame))
            elif isinstance(frame, frames.MetricsWanted):
                self.send(frames.MetricsFrame((frames.Sample(OWED, (), self.outbox.owed),)))

    def _signed(self, frame: frames.SignRequest) -> frames.Signed:
        if not self.is_willing:
            return frames.Signed(frame.id, b"", b"", "not today")
        try:
            made = self.desk.sign(frame.kind, frame.spki_sha256, frame.nonce)
        except DoorError as error:
            return frames.Signed(frame.id, b"", b"", str(error))
        return frames.Signed(frame.id, made.payload, made.signature)


OWED = "vedette_agent_outbox_batches"
