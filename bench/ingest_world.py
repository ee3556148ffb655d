"""A trust domain, its agents and what they have sealed, for the measurement of ingest."""

import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bench.findings import BOOT
from certs.authority import (
    AuthorityMaterial,
    CollectorAuthority,
    RootAuthority,
    TenantAuthority,
)
from certs.channel import TlsIdentity
from certs.identity import AgentId, PeerIdentity, TenantId, agent_id_of
from certs.p256 import P256Key
from certs.request import CertificateRequest, create_request, parse_request
from certs.signatures import SigningKey
from collector.issuer.agents import Agent, serial_bytes
from proto import codec, envelope, merkle, model
from proto.envelope import PayloadType
from proto.vedette.v1.envelope_pb2 import Envelope
from runtime.clock import SystemClock

BATCH: Final = 256
DOMAIN: Final = "bench.example"
TENANT: Final = TenantId(bytes(range(16)))
_HEADER_VERSION: Final = 1


class SealingAgent(Struct, frozen=True):
    """One agent's keys."""

    id: AgentId
    key: SigningKey
    tls: TlsIdentity
    serial: bytes


class Given(Struct, frozen=True):
    """What the server process is told."""

    root_pem: bytes
    authority_pem: bytes
    chain_pem: bytes
    key_pem: bytes
    agents: tuple[Agent, ...]


class World:
    """Who there is, and what was sealed.

    Args:
        root_pem: above everybody.
        agents: who sends.
        given: what the server is told.
    """

    def __init__(self, root_pem: bytes, agents: tuple[SealingAgent, ...], given: Given) -> None:
        self.root_pem = root_pem
        self.agents = agents
        self.raw_bytes = 0
        self._given = given

    def write(self, folder: Path) -> None:
        """Leave what the server is told where it looks."""
        (folder / "given").write_bytes(msgspec.msgpack.encode(self._given))

    def seal(self, number: int, found: Iterable[model.Finding]) -> list[bytes]:
        """Return an agent's findings as messages, in full batches of one epoch."""
        agent = self.agents[number]
        records = [codec.encode_record(finding) for finding in found]
        messages: list[bytes] = []
        previous = b""
        for start in range(0, len(records) - BATCH + 1, BATCH):
            header, body = self._header(agent, records[start : start + BATCH], previous)
            payload = codec.encode_header(msgspec.structs.replace(header, seq=len(messages) + 1))
            signature = envelope.sign(PayloadType.BATCH, payload, agent.key)
            message = Envelope(header=payload, signature=signature, body=body)
            messages.append(message.SerializeToString())
            previous = envelope.header_hash(PayloadType.BATCH, payload)
        return messages

    def _header(
        self, agent: SealingAgent, records: list[bytes], previous: bytes
    ) -> tuple[model.Header, bytes]:
        seed = hashlib.sha256(records[0]).digest()
        raw = codec.encode_body(model.Body(seed=seed, records=tuple(records)))
        self.raw_bytes += len(raw)
        body = zlib.compress(raw, 1)
        now = SystemClock().wall_ns()
        header = model.Header(
            version=_HEADER_VERSION,
            tenant=TENANT.bytes,
            agent=agent.id.bytes,
            key_id=agent.key.public.key_id,
            epoch=agent.id.bytes,
            opens=None if previous else model.EpochStart(reason=model.EpochReason.FIRST),
            seq=1,
            previous=previous,
            body_sha256=hashlib.sha256(body).digest(),
            compression=model.Compression.ZLIB,
            body_bytes=len(body),
            raw_bytes=len(raw),
            records=len(records),
            root=merkle.root_of(merkle.batch_leaves(seed, records)),
            priority=model.Priority.HIGH,
            first_time=now,
            last_time=now,
            wall=now,
            boot_clock=now,
            boot_id=BOOT,
            split=model.Split.USERS,
            agent_version="0",
            host_name="bench",
            content=(model.ContentStamp("indicators", "7", 60, model.Freshness.FRESH),),
            sensors=tuple(
                model.SensorStatus(name, "best", model.HealthState.OK, now, 0)
                for name in ("processes", "sockets", "files", "authlog", "packages")
            ),
        )
        return header, body


def a_world(agents: int) -> World:
    """Return a new trust domain with agents that are enrolled in it."""
    now_ns = SystemClock().wall_ns()
    root = RootAuthority.create(DOMAIN, now_ns)
    tenant_key, collector_key, server_key = (P256Key.generate() for _ in range(3))
    tenant_pem = root.sign_tenant(_request(tenant_key), TENANT, now_ns)
    collector_pem = root.sign_collector(_request(collector_key), now_ns)
    tenant = TenantAuthority(
        TENANT, DOMAIN, AuthorityMaterial(tenant_pem, tenant_key, root.certificate_pem)
    )
    collector = CollectorAuthority(
        AuthorityMaterial(collector_pem, collector_key, root.certificate_pem)
    )
    server = collector.issue(_request(server_key), ("localhost",), now_ns)
    made = tuple(_agent(tenant, now_ns) for _ in range(agents))
    given = Given(
        root_pem=root.certificate_pem,
        authority_pem=tenant_pem,
        chain_pem=server.chain_pem,
        key_pem=server_key.to_pem(),
        agents=tuple(_row(agent, now_ns) for agent in made),
    )
    return World(root.certificate_pem, made, given)


def _request(key: P256Key) -> CertificateRequest:
    return parse_request(create_request(key))


def _agent(tenant: TenantAuthority, now_ns: int) -> SealingAgent:
    signing, key = SigningKey.generate(), P256Key.generate()
    agent = agent_id_of(signing.public.raw)
    leaf = tenant.issue(_request(key), PeerIdentity(TENANT, agent), now_ns)
    return SealingAgent(
        id=agent,
        key=signing,
        tls=TlsIdentity(leaf.chain_pem, key),
        serial=serial_bytes(leaf.serial),
    )


def _row(agent: SealingAgent, now_ns: int) -> Agent:
    return Agent(
        identity=PeerIdentity(TENANT, agent.id),
        signing_key=agent.key.public.raw,
        host_name="bench",
        enrolled_ns=now_ns,
        changed_ns=now_ns,
        current=agent.serial,
        revision=1,
    )
