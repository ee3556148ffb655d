import time

from certs.p256 import P256Key
from certs.request import create_request
from collector.gateway.identity import IdentityService
from collector.issuer.messages import Challenge, Renew
from proto.vedette.v1 import service_pb2, statement_pb2
from tests.collector.gateway.test_enforcement import CURRENT, IDENTITY, FakeCall, Post


async def test_who_renews_and_by_which_certificate_comes_from_the_certificate() -> None:
    post = Post()
    post.issuer.now_ns = time.time_ns()
    service = IdentityService(post.issuer, post.registry)
    statement = statement_pb2.SignedStatement(payload=b"p", signature=b"s" * 64)
    csr = create_request(P256Key.generate())
    request = service_pb2.RenewRequest(csr=csr, statement=statement).SerializeToString()

    async with post.point.enter(FakeCall()) as session:
        data = await service.renew(session, request, "192.0.2.1")

    asked = post.issuer.asked[-1]
    row = post.registry.find(IDENTITY)
    assert isinstance(asked, Renew)
    assert (asked.peer, asked.serial, asked.csr) == (IDENTITY, CURRENT, csr)
    assert service_pb2.Certificate.FromString(data).agent == IDENTITY.agent.bytes
    assert row is not None
    assert CURRENT in row.serials
    assert len(row.serials) == 2


async def test_a_challenge_is_the_issuers_nonce() -> None:
    post = Post()

    data = await IdentityService(post.issuer, post.registry).challenge()

    assert service_pb2.ChallengeResponse.FromString(data).nonce == b"n" * 32
    assert post.issuer.asked == [Challenge()]
