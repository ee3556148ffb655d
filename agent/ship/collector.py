"""Calls to the collector besides the batch stream: renewal, content files, the log."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import ClassVar

import grpc.aio
from msgspec import Struct

from agent.errors import Unreachable
from certs.channel import TlsIdentity, channel_credentials
from proto.vedette.v1 import service_pb2
from proto.vedette.v1.service_pb2_grpc import (
    ContentStub,
    EnrollmentStub,
    IdentityStub,
    LogStub,
)
from proto.vedette.v1.statement_pb2 import SignedStatement

CALL_TIMEOUT_S = 30


class Issued(Struct, frozen=True):
    """A certificate as the collector gave it."""

    chain: bytes
    agent: bytes
    not_after: int


class Proof(Struct, frozen=True):
    """A checkpoint and the path that leads to it from an older size."""

    checkpoint: bytes
    hashes: tuple[bytes, ...]


def open_channel(
    address: str,
    root_pem: bytes,
    identity: TlsIdentity | None,
    options: Sequence[tuple[str, int]] = (),
) -> grpc.aio.Channel:
    """Return a channel that trusts one root and shows one identity."""
    return grpc.aio.secure_channel(
        address, channel_credentials(root_pem, identity), options=list(options)
    )


class CallFailed(Unreachable):
    """A call ended with another status than OK.

    Args:
        error: as gRPC raised it.
        what: what the call was for.
    """

    def __init__(self, error: grpc.aio.AioRpcError, what: str) -> None:
        super().__init__(f"{what}: {error.code().name.lower()}: {error.details()}")
        self.is_missing = error.code() is grpc.StatusCode.NOT_FOUND


class CallRefused(CallFailed):
    """The collector knows who asks, or what it shows, and says no; asking again cannot help."""

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 6


_REFUSALS = frozenset({grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED})


@contextlib.contextmanager
def _failures(what: str) -> Iterator[None]:
    """Turn whatever ends a call into an error of ours.

    Raises:
        CallRefused: the collector says no.
        CallFailed: another status than OK.
        Unreachable: the channel was closed before or under the call.
        CancelledError: the task was told to end.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        failure = CallRefused if error.code() in _REFUSALS else CallFailed
        raise failure(error, what) from error
    except grpc.aio.UsageError as error:
        raise Unreachable(f"{what}: the connection is closed") from error
    except asyncio.CancelledError as error:
        # A call whose channel closes is cancelled. Unless somebody wants this task itself to end,
        # it must go on: a task that is cancelled ends without a word.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unreachable(f"{what}: the connection was closed") from error


async def begin(channel: grpc.aio.Channel, tenant: bytes) -> tuple[bytes, bytes]:
    """Return a nonce and the tenant's trust.json, unverified.

    Raises:
        CallFailed: no answer.
        Unreachable: the channel was closed.
    """
    request = service_pb2.BeginRequest(tenant=tenant)
    with _failures("enrolment did not begin"):
        reply = await EnrollmentStub(channel).Begin(request, timeout=CALL_TIMEOUT_S)
    return reply.nonce, reply.trust


async def enroll(
    channel: grpc.aio.Channel, secret: bytes, csr: bytes, statement: tuple[bytes, bytes]
) -> Issued:
    """Trade a join token for a certificate; ``statement`` is its payload and signature.

    Raises:
        CallRefused: not with this.
        CallFailed: no answer.
        Unreachable: the channel was closed.
    """
    request = service_pb2.EnrollRequest(
        token_secret=secret,
        csr=csr,
        statement=SignedStatement(payload=statement[0], signature=statement[1]),
    )
    with _failures("the collector did not enrol this host"):
        reply = await EnrollmentStub(channel).Enroll(request, timeout=CALL_TIMEOUT_S)
    return Issued(reply.chain, reply.agent, reply.not_after)


async def challenge(channel: grpc.aio.Channel) -> bytes:
    """Return a nonce for a renewal.

    Raises:
        CallFailed: no answer.
        Unreachable: the channel was closed.
    """
    with _failures("no challenge for the renewal"):
        reply = await IdentityStub(channel).Challenge(
            service_pb2.ChallengeRequest(), timeout=CALL_TIMEOUT_S
        )
    return bytes(reply.nonce)


async def renew(channel: grpc.aio.Channel, csr: bytes, statement: tuple[bytes, bytes]) -> Issued:
    """Have a new key certified; ``statement`` is its payload and signature.

    Raises:
        CallRefused: not with this.
        CallFailed: no answer.
        Unreachable: the channel was closed.
    """
    request = service_pb2.RenewRequest(
        csr=csr, statement=SignedStatement(payload=statement[0], signature=statement[1])
    )
    with _failures("the certificate was not renewed"):
        reply = await IdentityStub(channel).Renew(request, timeout=CALL_TIMEOUT_S)
    return Issued(reply.chain, reply.agent, reply.not_after)


async def reattest(channel: grpc.aio.Channel, csr: bytes, statement: tuple[bytes, bytes]) -> Issued:
    """Come back after the certificate has expired; ``statement`` is its payload and signature.

    Raises:
        CallRefused: not with this.
        CallFailed: no answer.
        Unreachable: the channel was closed.
    """
    request = service_pb2.ReattestRequest(
        csr=csr, statement=SignedStatement(payload=statement[0], signature=statement[1])
    )
    with _failures("the collector did not let this host in again"):
        reply = await EnrollmentStub(channel).Reattest(request, timeout=CALL_TIMEOUT_S)
    return Issued(reply.chain, reply.agent, reply.not_after)


async def content_chunk(channel: grpc.aio.Channel, name: str, offset: int) -> tuple[bytes, int]:
    """Return bytes of a content file from an offset on, and the file's size.

    Raises:
        CallFailed: no such file, or no answer.
        Unreachable: the collector sent nothing, or the channel was closed.
    """
    with _failures(f"content {name[:80]!r}"):
        call = ContentStub(channel).Get(
            service_pb2.GetRequest(name=name, offset=offset), timeout=CALL_TIMEOUT_S
        )
        try:
            async for chunk in call:
                return chunk.data, chunk.total
        finally:
            call.cancel()
    raise Unreachable("the collector sent no bytes")


async def log_growth(channel: grpc.aio.Channel, known_size: int) -> Proof | None:
    """Return the log's newest checkpoint with the proof that it extends ``known_size``.

    Returns:
        None where the log has no checkpoint yet.

    Raises:
        CallFailed: no answer.
        Unreachable: the channel was closed.
    """
    stub = LogStub(channel)
    with _failures("the log"):
        reply = await stub.Checkpoint(service_pb2.CheckpointRequest(), timeout=CALL_TIMEOUT_S)
        if not reply.checkpoint:
            return None
        size = _size_of(reply.checkpoint)
        hashes: tuple[bytes, ...] = ()
        if 0 < known_size < size:
            proof = await stub.Consistency(
                service_pb2.ConsistencyRequest(first=known_size, second=size),
                timeout=CALL_TIMEOUT_S,
            )
            hashes = tuple(proof.hashes)
    return Proof(reply.checkpoint, hashes)


def _size_of(note: bytes) -> int:
    """The size a checkpoint claims; `sense` verifies, this only asks for the right proof."""
    lines = note[:1024].split(b"\n", 2)
    return int(lines[1]) if len(lines) > 1 and lines[1].isdigit() and len(lines[1]) < 19 else 0


async def close_channel(channel: grpc.aio.Channel) -> None:
    """Close a channel, waiting shortly for what is under way."""
    await asyncio.shield(channel.close(grace=1.0))
