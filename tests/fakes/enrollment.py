"""The front of a collector on loopback, with real TLS: all of its services, as they should be."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Self

import grpc
import grpc.aio
from cryptography import x509
from google.protobuf.message import Message

from certs.channel import server_credentials
from certs.identity import PeerIdentity, agent_id_of
from certs.request import parse_request, spki_hash
from certs.signatures import SigningKey, VerifyKey
from certs.tokens import JoinToken
from certs.trust import Trust, TrustedKey
from proto import codec, envelope
from proto.envelope import PayloadType
from proto.model import Durability, Receipt
from proto.vedette.v1 import service_pb2 as wire
from proto.vedette.v1.envelope_pb2 import Envelope, Reply, Resume, SignedReceipt
from tests.certs.builders import DOMAIN, TENANT, Pki, a_pki, a_server

Context = grpc.aio.ServicerContext[Any, Any]
Unary = Callable[[Any, Context], Awaitable[Message]]
HOUR_NS = 3600 * 10**9


class FakeFront:
    """One tenant's collector; a test may change what it says.

    Args:
        asks: whether a client must show a certificate of this trust domain.
        age_ns: how long ago its authorities were made.
    """

    def __init__(self, *, asks: bool = False, age_ns: int = 0) -> None:
        self.asks = asks
        self.pki: Pki = a_pki(time.time_ns() - age_ns)
        self.key = SigningKey.generate()
        self.trust = self.a_trust()
        self.secret = os.urandom(32)
        self.nonce = os.urandom(16)
        self.taken: list[bytes] = []
        self.says_agent: bytes | None = None
        self.files: dict[str, bytes] = {}
        self.chunk_bytes = 4
        self.checkpoint = b""
        self.asked_growth: list[tuple[int, int]] = []
        self.address = self.open_address = ""
        # The intake: what it says first, what it took, and whose certificates it was shown.
        self.greeting: list[Reply] = []
        self.taken_batches: list[Envelope] = []
        self.shown: list[int] = []
        self.challenges = 0
        self.is_slow_to_challenge = False
        self._end_streams = asyncio.Event()

    def a_trust(self, domain: str = DOMAIN) -> Trust:
        trusted = TrustedKey(name="receipts", key=self.key.public.raw)
        return Trust(
            domain=domain,
            tenant=str(TENANT),
            x509_root=self.pki.root.certificate_pem.decode(),
            tuf_root=b'{"signed": {}}',
            receipt_keys=(trusted,),
            log_keys=(trusted,),
        )

    def token(self) -> JoinToken:
        """The token of its first trust file, whatever it hands out later."""
        return JoinToken(
            tenant=TENANT,
            secret=self.secret,
            root_der=self.trust.root_der,
            trust_sha256=self.a_trust().digest(),
            expires_ns=time.time_ns() + HOUR_NS,
        )

    async def __aenter__(self) -> Self:
        tls = a_server(self.pki.collector, time.time_ns())
        root = self.pki.root.certificate_pem if self.asks else None
        self._server = grpc.aio.server()
        unary: Mapping[str, tuple[type[Message], Unary]] = {
            "Enrollment/Begin": (wire.BeginRequest, self._begin),
            "Enrollment/Enroll": (wire.EnrollRequest, self._enroll),
            "Enrollment/Reattest": (wire.ReattestRequest, self._renew),
            "Identity/Challenge": (wire.ChallengeRequest, self._challenge),
            "Identity/Renew": (wire.RenewRequest, self._renew),
            "Log/Checkpoint": (wire.CheckpointRequest, self._checkpoint),
            "Log/Consistency": (wire.ConsistencyRequest, self._consistency),
        }
        for name, (request, answer) in unary.items():
            self._serve(
                name,
                grpc.unary_unary_rpc_method_handler(
                    answer,
                    request_deserializer=request.FromString,
                    response_serializer=lambda message: message.SerializeToString(),
                ),
            )
        self._serve(
            "Content/Get",
            grpc.unary_stream_rpc_method_handler(
                self._get,
                request_deserializer=wire.GetRequest.FromString,
                response_serializer=wire.Chunk.SerializeToString,
            ),
        )
        self._serve(
            "Intake/Push",
            grpc.stream_stream_rpc_method_handler(
                self._push,
                request_deserializer=Envelope.FromString,
                response_serializer=Reply.SerializeToString,
            ),
        )
        self.address = self._listen(self.address, server_credentials(tls, root))
        self.open_address = self._listen(self.open_address, server_credentials(tls, None))
        await self._server.start()
        return self

    def _listen(self, address: str, credentials: grpc.ServerCredentials) -> str:
        """Listen on a new port, or once more on the one of before."""
        port = address.partition(":")[2] or "0"
        return f"localhost:{self._server.add_secure_port(f'127.0.0.1:{port}', credentials)}"

    def end_streams(self) -> None:
        """End every stream of batches there is; new ones are taken."""
        self._end_streams.set()
        self._end_streams = asyncio.Event()

    async def _push(
        self, requests: AsyncIterator[Envelope], context: Context
    ) -> AsyncIterator[Reply]:
        (pem,) = context.auth_context()["x509_pem_cert"]
        self.shown.append(x509.load_pem_x509_certificate(pem).serial_number)
        end = asyncio.ensure_future(self._end_streams.wait())
        # A collector always speaks first: where it stands.
        yield Reply(resume=Resume())
        for reply in self.greeting:
            yield reply
        while not end.done():
            coming = asyncio.ensure_future(anext(requests, None))
            await asyncio.wait((coming, end), return_when=asyncio.FIRST_COMPLETED)
            sent = coming.result() if coming.done() else None
            if sent is None:
                coming.cancel()
                end.cancel()
                return
            self.taken_batches.append(sent)
            yield self._receipt(sent)

    def _receipt(self, sent: Envelope) -> Reply:
        header = codec.decode_header(sent.header)
        payload = codec.encode_receipt(
            Receipt(
                version=1,
                tenant=header.tenant,
                agent=header.agent,
                epoch=header.epoch,
                seq=header.seq,
                header_hash=envelope.header_hash(PayloadType.BATCH, sent.header),
                ledger_generation=bytes(16),
                log_size=0,
                durability=Durability.DURABLE,
                at=1,
            )
        )
        return Reply(
            receipt=SignedReceipt(
                payload=payload,
                signature=envelope.sign(PayloadType.RECEIPT, payload, self.key),
                key_id=self.key.public.key_id,
            )
        )

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    def _serve(self, name: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> None:
        service, method = name.split("/")
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(f"vedette.v1.{service}", {method: handler}),)
        )

    async def _begin(self, request: wire.BeginRequest, context: Context) -> Message:
        if request.tenant != TENANT.bytes:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such tenant")
        return wire.BeginResponse(nonce=self.nonce, trust=self.trust.encode())

    async def _enroll(self, request: wire.EnrollRequest, context: Context) -> Message:
        known = hashlib.sha256(self.secret).digest()
        if hashlib.sha256(request.token_secret).digest() != known:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the token is not known")
        return self._certified(request.csr, request.statement.payload, request.statement.signature)

    async def _challenge(self, _: wire.ChallengeRequest, __: Context) -> Message:
        self.challenges += 1
        if self.is_slow_to_challenge:
            await asyncio.sleep(30)
        return wire.ChallengeResponse(nonce=self.nonce)

    async def _renew(self, request: wire.RenewRequest, __: Context) -> Message:
        return self._certified(request.csr, request.statement.payload, request.statement.signature)

    def _certified(self, csr: bytes, payload: bytes, signature: bytes) -> Message:
        """Certify a key that an agent's own statement names."""
        statement = codec.decode_statement(payload)
        envelope.verify(PayloadType.STATEMENT, payload, signature, VerifyKey(statement.public_key))
        assert statement.nonce == self.nonce
        assert statement.spki_sha256 == spki_hash(csr)
        agent = agent_id_of(statement.public_key)
        leaf = self.pki.tenant.issue(
            parse_request(csr), PeerIdentity(TENANT, agent), time.time_ns()
        )
        self.taken.append(agent.bytes)
        return wire.Certificate(
            chain=leaf.chain_pem,
            agent=agent.bytes if self.says_agent is None else self.says_agent,
            not_after=leaf.not_after_ns,
        )

    async def _get(self, request: wire.GetRequest, context: Context) -> AsyncIterator[Message]:
        data = self.files.get(request.name)
        if data is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such file")
        else:
            for at in range(request.offset, len(data), self.chunk_bytes):
                yield wire.Chunk(data=data[at : at + self.chunk_bytes], total=len(data))

    async def _checkpoint(self, _: wire.CheckpointRequest, __: Context) -> Message:
        return wire.CheckpointResponse(checkpoint=self.checkpoint)

    async def _consistency(self, request: wire.ConsistencyRequest, __: Context) -> Message:
        self.asked_growth.append((request.first, request.second))
        return wire.ConsistencyResponse(hashes=[b"a" * 32, b"b" * 32])
