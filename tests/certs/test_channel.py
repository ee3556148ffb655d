"""The laws of TLS, asked of real handshakes on loopback."""

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.channel import StoredKey, TlsIdentity, channel_credentials, server_credentials
from certs.errors import AuthorityUnusable, IdentityRefused, KeyUnusable
from certs.identity import spiffe_uri
from certs.leaf import PeerReader
from certs.p256 import P256Key
from runtime.clock import NS_PER_S
from tests.certs.builders import (
    DOMAIN,
    OTHER_TENANT,
    TENANT,
    Odd,
    a_leaf,
    a_pki,
    a_server,
    a_tenant_authority,
    an_identity,
    an_unconstrained_authority,
    sign_odd,
    subject_of,
)

NOW_NS = time.time_ns()
PKI = a_pki(NOW_NS)
ROOT = PKI.root.certificate_pem
SERVER = a_server(PKI.collector, NOW_NS)
CALL_S_MAX = 5


class WhoAmI(grpc.GenericRpcHandler):
    """Answers every call with what gRPC says of the peer."""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return grpc.unary_unary_rpc_method_handler(self.answer)

    @staticmethod
    def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
        found = context.auth_context()
        return json.dumps(
            {str(name): bytes(values[0]).decode() for name, values in found.items()}
        ).encode()


@contextlib.contextmanager
def serving(identity: TlsIdentity = SERVER, client_root: bytes | None = ROOT) -> Iterator[int]:
    with futures.ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, handlers=[WhoAmI()])
        port = server.add_secure_port("127.0.0.1:0", server_credentials(identity, client_root))
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait(CALL_S_MAX)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving() as found:
        yield found


def call(
    port: int, credentials: grpc.ChannelCredentials, host: str = "localhost"
) -> dict[str, str]:
    with grpc.secure_channel(f"{host}:{port}", credentials) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/any/Method")
        found = json.loads(method(b"", timeout=CALL_S_MAX))
    assert isinstance(found, dict)
    return found


def refused(port: int, identity: TlsIdentity | None, root: bytes = ROOT) -> bool:
    try:
        call(port, channel_credentials(root, identity))
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


def an_agent(now_ns: int = NOW_NS) -> TlsIdentity:
    key, issued = a_leaf(PKI.tenant, now_ns)
    return TlsIdentity(issued.chain_pem, key)


def an_odd_agent(
    odd: Odd, signer: P256Key = PKI.tenant_key, authority: bytes = PKI.tenant.certificate_pem
) -> TlsIdentity:
    key = P256Key.generate()
    pem = sign_odd(odd, signer, subject_of(authority), NOW_NS, key.public.native)
    return TlsIdentity(pem + authority, key)


def test_an_agent_and_a_collector_of_one_root_understand_each_other(port: int) -> None:
    agent = an_agent()

    peer = call(port, channel_credentials(ROOT, agent))

    reader = PeerReader(DOMAIN, ROOT)
    reader.trust(TENANT, PKI.tenant.certificate_pem)
    assert reader.read(peer["x509_pem_cert"].encode()).identity == an_identity()
    assert peer["ssl_tls_version"] == "TLSv1.3"
    assert peer["ssl_session_reused"] == "false"


def test_the_key_exchange_is_hybrid_against_quantum_computers(port: int) -> None:
    peer = call(port, channel_credentials(ROOT, an_agent()))

    assert peer["ssl_negotiated_key_exchange_group"] == "X25519MLKEM768"


def test_a_collector_is_found_by_address_as_well_as_by_name(port: int) -> None:
    assert call(port, channel_credentials(ROOT, an_agent()), host="127.0.0.1")


def test_a_name_that_the_server_certificate_lacks_is_refused() -> None:
    with serving(a_server(PKI.collector, NOW_NS, ["collector.vedette.example"])) as port:
        assert refused(port, an_agent())


def test_a_client_without_a_certificate_is_refused(port: int) -> None:
    assert refused(port, None)


def test_the_enrolment_listener_asks_for_no_certificate() -> None:
    with serving(client_root=None) as port:
        peer = call(port, channel_credentials(ROOT))
        shown = call(port, channel_credentials(ROOT, an_agent()))

    assert "x509_pem_cert" not in peer
    assert "x509_pem_cert" not in shown


def test_an_agent_of_another_root_is_refused_and_refuses(port: int) -> None:
    other = a_pki(NOW_NS)
    key, issued = a_leaf(other.tenant, NOW_NS)
    stranger = TlsIdentity(issued.chain_pem, key)

    assert refused(port, stranger)
    assert refused(port, stranger, other.root.certificate_pem)
    assert refused(port, an_agent(), other.root.certificate_pem)


def test_an_agent_that_does_not_send_its_authority_is_refused(port: int) -> None:
    agent = an_agent()
    leaf_only = agent.chain_pem[: -len(PKI.tenant.certificate_pem)]

    assert refused(port, TlsIdentity(leaf_only, agent.key))


@pytest.mark.parametrize("offset_s", [-2 * 86_400, 3600], ids=["expired", "from the future"])
def test_a_certificate_outside_its_time_is_refused(offset_s: int) -> None:
    then_ns = NOW_NS + offset_s * NS_PER_S
    pki = a_pki(min(then_ns, NOW_NS))
    key, issued = a_leaf(pki.tenant, then_ns)

    with serving(a_server(pki.collector, NOW_NS), pki.root.certificate_pem) as port:
        assert refused(port, TlsIdentity(issued.chain_pem, key), pki.root.certificate_pem)


OTHER_URI = spiffe_uri(an_identity(OTHER_TENANT), DOMAIN)
OWN_URI = spiffe_uri(an_identity(), DOMAIN)
SERVER_PURPOSE = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)


@pytest.mark.parametrize(
    "odd",
    [
        Odd(uris=(OTHER_URI,)),
        Odd(uris=(OWN_URI, OTHER_URI)),
        Odd(uris=(OWN_URI.replace("spiffe://", "spiffe://x."),)),
        Odd(uris=(OWN_URI.replace("spiffe://", "spiffe://x"),)),
        Odd(uris=(OWN_URI.replace("spiffe://", "spiffe://user@"),)),
        Odd(uris=(OWN_URI.replace("spiffe://", "spiffe:///"),)),
        Odd(uris=(OWN_URI.replace("spiffe://", "spiffe:"),)),
        Odd(uris=(f"spiffe://{DOMAIN}/agent/x",)),
        Odd(names=(x509.DNSName("localhost"),)),
        Odd(uris=(), names=(x509.DNSName("localhost"),)),
        Odd(purpose=SERVER_PURPOSE),
        Odd(issuer=(x509.AuthorityKeyIdentifier(bytes(32), None, None), False)),
    ],
    ids=[
        "another tenant",
        "another tenant too",
        "a label before",
        "a letter before",
        "a user before",
        "no host",
        "no slashes",
        "the domain itself",
        "a DNS name too",
        "only a DNS name",
        "a server's purpose",
        "another issuer's id",
    ],
)
def test_what_a_stolen_tenant_authority_cannot_mint_is_refused_in_the_handshake(
    port: int, odd: Odd
) -> None:
    assert refused(port, an_odd_agent(odd))


def test_the_builder_of_odd_agents_makes_a_good_one_when_nothing_is_changed(port: int) -> None:
    assert not refused(port, an_odd_agent(Odd()))


def test_without_the_constraint_tls_lets_the_other_tenant_in_and_the_reader_does_not() -> None:
    key, authority = an_unconstrained_authority(PKI.root, NOW_NS)
    thief = an_odd_agent(Odd(uris=(OTHER_URI,)), key, authority)
    reader = PeerReader(DOMAIN, ROOT)
    reader.trust(TENANT, PKI.tenant.certificate_pem)
    reader.trust(OTHER_TENANT, a_tenant_authority(PKI.root, OTHER_TENANT, NOW_NS).certificate_pem)

    with serving() as port:
        peer = call(port, channel_credentials(ROOT, thief))

    with pytest.raises(IdentityRefused, match="no tenant's authority"):
        reader.read(peer["x509_pem_cert"].encode())


@pytest.mark.parametrize("own_purpose", [False, True], ids=["client's purpose", "server's purpose"])
def test_a_stolen_tenant_authority_cannot_pass_as_the_collector(own_purpose: bool) -> None:
    names = (x509.DNSName("localhost"),)
    odd = Odd(uris=(), names=names, purpose=SERVER_PURPOSE) if own_purpose else Odd(names=names)

    with serving(an_odd_agent(odd)) as port:
        assert refused(port, an_agent())


def test_an_agents_own_certificate_cannot_pass_as_the_collector() -> None:
    with serving(an_agent()) as port:
        assert refused(port, an_agent())


def test_the_collectors_authority_cannot_mint_an_agent(port: int) -> None:
    thief = an_odd_agent(Odd(), PKI.collector_key, PKI.collector.certificate_pem)

    assert refused(port, thief)


def test_a_leaf_signed_by_a_leaf_is_refused(port: int) -> None:
    agent = an_agent()
    leaf_pem = agent.chain_pem[: -len(PKI.tenant.certificate_pem)]
    key = P256Key.from_pem(agent.key.to_pem())
    child = an_odd_agent(Odd(), key, leaf_pem)

    assert refused(port, TlsIdentity(child.chain_pem + PKI.tenant.certificate_pem, child.key))


def tls_version(port: int, version: ssl.TLSVersion) -> str | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ROOT.decode())
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port), timeout=CALL_S_MAX) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                return wrapped.version()
        except (ssl.SSLError, ConnectionError):
            return None


@pytest.mark.parametrize("client_root", [ROOT, None], ids=["intake", "enrolment"])
def test_tls_1_2_is_refused_and_tls_1_3_is_spoken(client_root: bytes | None) -> None:
    with serving(client_root=client_root) as port:
        assert tls_version(port, ssl.TLSVersion.TLSv1_2) is None
        assert tls_version(port, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"


def accept_once(listener: socket.socket, context: ssl.SSLContext) -> str | None:
    plain, _ = listener.accept()
    with plain:
        plain.settimeout(CALL_S_MAX)
        try:
            with context.wrap_socket(plain, server_side=True) as wrapped:
                return wrapped.version()
        except (ssl.SSLError, ConnectionError):
            return None


def test_a_client_of_ours_refuses_a_server_that_speaks_tls_1_2_only(tmp_path: Path) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(SERVER.chain_pem)
    key.write_bytes(SERVER.key.to_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(chain, key)

    with socket.create_server(("127.0.0.1", 0)) as listener, futures.ThreadPoolExecutor(1) as pool:
        listener.settimeout(CALL_S_MAX)
        handshake = pool.submit(accept_once, listener, context)
        assert refused(listener.getsockname()[1], None)

        assert handshake.result(CALL_S_MAX) is None


@pytest.mark.parametrize("root", [b"", b" \n"])
def test_an_empty_root_is_refused_for_it_could_mean_the_systems_own(root: bytes) -> None:
    with pytest.raises(AuthorityUnusable):
        channel_credentials(root)
    with pytest.raises(AuthorityUnusable):
        server_credentials(SERVER, root)


def test_a_stored_key_shakes_hands_as_the_key_it_was_stored_from(port: int) -> None:
    agent = an_agent()
    stored = TlsIdentity(agent.chain_pem, StoredKey(agent.key.to_pem()))

    peer = call(port, channel_credentials(ROOT, stored))

    assert peer["x509_pem_cert"].encode() in agent.chain_pem


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a key",
        b"-----BEGIN " + b"PRIVATE KEY-----\nAAAA",
        b"-----BEGIN " + b"CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_no_pem_key_is_not_kept_as_one(pem: bytes) -> None:
    with pytest.raises(KeyUnusable):
        StoredKey(pem)


def test_a_stored_key_never_prints_its_secret() -> None:
    pem = P256Key.generate().to_pem()

    assert repr(StoredKey(pem)) == "StoredKey()"
