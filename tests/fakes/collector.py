"""A small collector for tests of the uplink: it takes batches and answers as a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Self

import grpc
import grpc.aio

from certs.signatures import SigningKey
from proto import codec, envelope
from proto.envelope import PayloadType
from proto.model import Durability, Receipt
from proto.vedette.v1.envelope_pb2 import Envelope, Reply, SignedReceipt
from tests.agent.sense.builders import TENANT

# A reply, or any bytes in its place.
Answer = Callable[["FakeCollector", Envelope], Sequence[Reply | bytes]]


class FakeCollector:
    """An intake without TLS, on a loopback port of its own."""

    def __init__(self) -> None:
        self.key = SigningKey.generate()
        self.taken: list[Envelope] = []
        self.greeting: list[Reply] = []
        self.answer: Answer = lambda collector, sent: [collector.receipt(sent)]
        self.sessions = 0
        self.arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(
            self._push,
            request_deserializer=Envelope.FromString,
            response_serializer=_raw,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("vedette.v1.Intake", {"Push": handler}),)
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    async def _push(
        self, requests: AsyncIterator[Envelope], _context: object
    ) -> AsyncIterator[Reply | bytes]:
        self.sessions += 1
        for reply in self.greeting:
            yield reply
        async for sent in requests:
            self.taken.append(sent)
            self.arrived.set()
            for said in self.answer(self, sent):
                yield said

    def receipt(self, sent: Envelope) -> Reply:
        header = codec.decode_header(sent.header)
        receipt = Receipt(
            version=1,
            tenant=TENANT,
            agent=header.agent,
            epoch=header.epoch,
            seq=header.seq,
            header_hash=envelope.header_hash(PayloadType.BATCH, sent.header),
            ledger_generation=bytes(16),
            log_size=0,
            durability=Durability.DURABLE,
            at=1,
        )
        payload = codec.encode_receipt(receipt)
        return Reply(
            receipt=SignedReceipt(
                payload=payload,
                signature=envelope.sign(PayloadType.RECEIPT, payload, self.key),
                key_id=self.key.public.key_id,
            )
        )


def _raw(reply: Reply | bytes) -> bytes:
    return reply if isinstance(reply, bytes) else reply.SerializeToString()
