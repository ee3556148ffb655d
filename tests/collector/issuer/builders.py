"""An issuer with one tenant, and the proofs that agents send it."""

from pathlib import Path

import msgspec

from certs.authority import RootAuthority
from certs.identity import PeerIdentity, TenantId, agent_id_of
from certs.p256 import P256Key
from certs.request import create_request, spki_hash
from certs.signatures import SigningKey
from certs.tokens import JoinToken
from certs.trust import Trust, TrustedKey
from collector.issuer.administer import install_trust, mint_token
from collector.issuer.certify import begin, challenge, enroll, reattest, renew
from collector.issuer.desk import Desk
from collector.issuer.messages import (
    Begin,
    Challenge,
    Enroll,
    InstallTrust,
    Issued,
    MintToken,
    Reattest,
    Renew,
    SignedStatement,
)
from collector.issuer.settings import IssuerSettings
from collector.issuer.setup import add_tenant, set_up
from proto.codec import encode_statement
from proto.envelope import PayloadType, sign
from proto.model import Statement, StatementKind
from runtime.clock import Clock
from tests.fakes.clock import FakeClock

DOMAIN = "vedette.example"
UID = 1000
SOURCE = "192.0.2.7"


class House(msgspec.Struct, frozen=True):
    """A set-up issuer, its root and its first tenant."""

    settings: IssuerSettings
    root: RootAuthority
    clock: FakeClock
    desk: Desk
    tenant: TenantId


def some_settings(folder: Path, **changes: object) -> IssuerSettings:
    values: dict[str, object] = {
        "home": folder / "issuer",
        "socket": folder / "issuer.sock",
        "domain": DOMAIN,
        "server_names": ("localhost", "127.0.0.1"),
    }
    return IssuerSettings(**(values | changes))  # type: ignore[arg-type]


def a_trust(root: RootAuthority, tenant: TenantId) -> Trust:
    key = TrustedKey(name=f"{DOMAIN}/log", key=SigningKey.generate().public.raw)
    return Trust(
        domain=DOMAIN,
        tenant=str(tenant),
        x509_root=root.certificate_pem.decode(),
        tuf_root=b"{}",
        receipt_keys=(key,),
        log_keys=(key,),
    )


def a_tenant(desk: Desk, root: RootAuthority, name: str = "first") -> TenantId:
    """Add a tenant that can enrol hosts."""
    tenant = add_tenant(desk, root, name, UID)
    install_trust(desk, InstallTrust(tenant=tenant, trust=a_trust(root, tenant).encode()), UID)
    return tenant


def a_house(folder: Path, clock: FakeClock | None = None, **changes: object) -> House:
    clock = clock or FakeClock()
    settings = some_settings(folder, **changes)
    root = RootAuthority.create(DOMAIN, clock.wall_ns())
    set_up(settings, root, clock)
    desk = Desk(settings, clock)
    return House(settings, root, clock, desk, a_tenant(desk, root))


def reopened(house: House, **changes: object) -> House:
    """The same issuer after a restart."""
    house.desk.close()
    settings = msgspec.structs.replace(house.settings, **changes)
    desk = Desk(settings, house.clock)
    return msgspec.structs.replace(house, desk=desk, settings=settings)


class Host:
    """What an agent has: its signing key, its TLS key and what it was last told.

    Args:
        tenant: where it belongs.
        clock: for its statements.
    """

    def __init__(self, tenant: TenantId, clock: Clock) -> None:
        self.clock = clock
        self.signing = SigningKey.generate()
        self.tls = P256Key.generate()
        self.csr = create_request(self.tls)
        self.peer = PeerIdentity(tenant, agent_id_of(self.signing.public.raw))
        self.serial = b""
        self.generation = 0

    def new_tls_key(self) -> None:
        self.tls = P256Key.generate()
        self.csr = create_request(self.tls)

    def took(self, issued: Issued) -> None:
        """Use a certificate from now on."""
        self.serial = issued.serial
        self.generation = issued.generation

    def statement(self, kind: StatementKind, nonce: bytes, **changes: object) -> Statement:
        values: dict[str, object] = {
            "version": 1,
            "kind": kind,
            "tenant": self.peer.tenant.bytes,
            "agent": self.peer.agent.bytes,
            "public_key": self.signing.public.raw,
            "spki_sha256": spki_hash(self.csr),
            "nonce": nonce,
            "wall": self.clock.wall_ns(),
            "boot_id": bytes(16),
            "host_name": "web-1",
            "generation": self.generation,
        }
        return Statement(**(values | changes))  # type: ignore[arg-type]

    def signed(self, statement: Statement, signer: SigningKey | None = None) -> SignedStatement:
        payload = encode_statement(statement)
        signature = sign(PayloadType.STATEMENT, payload, signer or self.signing)
        return SignedStatement(payload, signature)

    def enroll_request(self, desk: Desk, secret: bytes, **changes: object) -> Enroll:
        nonce = begin(desk, Begin(tenant=self.peer.tenant)).nonce
        return Enroll(
            secret=secret,
            csr=self.csr,
            statement=self.signed(self.statement(StatementKind.ENROL, nonce, **changes)),
            source=SOURCE,
        )

    def renew_request(self, desk: Desk, **changes: object) -> Renew:
        nonce = challenge(desk, Challenge()).nonce
        return Renew(
            peer=self.peer,
            serial=self.serial,
            csr=self.csr,
            statement=self.signed(self.statement(StatementKind.RENEW, nonce, **changes)),
            source=SOURCE,
        )

    def reattest_request(self, desk: Desk, **changes: object) -> Reattest:
        nonce = challenge(desk, Challenge()).nonce
        return Reattest(
            csr=self.csr,
            statement=self.signed(self.statement(StatementKind.REATTEST, nonce, **changes)),
            source=SOURCE,
        )

    def enroll(self, desk: Desk, secret: bytes) -> Issued:
        issued = enroll(desk, self.enroll_request(desk, secret))
        self.took(issued)
        return issued

    def renew(self, desk: Desk) -> Issued:
        """Ask for the next certificate, on a new key, without using it yet."""
        self.new_tls_key()
        return renew(desk, self.renew_request(desk))

    def reattest(self, desk: Desk) -> Issued:
        self.new_tls_key()
        issued = reattest(desk, self.reattest_request(desk))
        self.took(issued)
        return issued


def a_secret(desk: Desk, tenant: TenantId, life_s: int = 600) -> bytes:
    """Mint a token and return its secret."""
    minted = mint_token(desk, MintToken(tenant=tenant, life_s=life_s), UID)
    return JoinToken.parse(minted.token).secret


def an_enrolled_host(house: House) -> Host:
    host = Host(house.tenant, house.clock)
    host.enroll(house.desk, a_secret(house.desk, house.tenant))
    return host
