import time

import pytest

from certs.p256 import P256Key
from certs.request import create_request
from collector.errors import IssuerUnavailable
from collector.gateway.enrollment import EnrollmentService
from collector.issuer.errors import IssuerRefused, Refusal
from collector.issuer.messages import Begin, Enroll, Reattest, SignedStatement
from proto.errors import Malformed
from proto.vedette.v1 import service_pb2, statement_pb2
from tests.collector.gateway.test_enforcement import IDENTITY, Post
from tests.collector.sealing import TENANT

CSR = create_request(P256Key.generate())
STATEMENT = statement_pb2.SignedStatement(payload=b"p", signature=b"s" * 64)


@pytest.fixture
def post() -> Post:
    post = Post()
    post.issuer.now_ns = time.time_ns()
    return post


def service(post: Post) -> EnrollmentService:
    return EnrollmentService(post.issuer, post.registry)


async def test_beginning_gives_what_the_issuer_gave(post: Post) -> None:
    request = service_pb2.BeginRequest(tenant=TENANT.bytes).SerializeToString()

    answer = service_pb2.BeginResponse.FromString(await service(post).begin(request))

    assert (answer.nonce, answer.trust) == (b"n" * 32, b"{}")
    assert post.issuer.asked == [Begin(tenant=TENANT)]
    with pytest.raises(Malformed):
        await service(post).begin(service_pb2.BeginRequest(tenant=b"x").SerializeToString())


async def test_a_joining_host_is_known_before_it_has_its_certificate(post: Post) -> None:
    request = service_pb2.EnrollRequest(token_secret=b"t" * 32, csr=CSR, statement=STATEMENT)

    data = await service(post).enroll(request.SerializeToString(), "192.0.2.1")

    certificate = service_pb2.Certificate.FromString(data)
    asked = post.issuer.asked[-1]
    row = post.registry.find(IDENTITY)
    assert asked == Enroll(
        secret=b"t" * 32,
        csr=CSR,
        statement=SignedStatement(b"p", b"s" * 64),
        source="192.0.2.1",
    )
    assert certificate.agent == IDENTITY.agent.bytes
    assert row is not None
    assert row.next_serial
    assert certificate.chain.startswith(b"-----BEGIN CERTIFICATE-----")


async def test_coming_back_by_the_signing_key_is_the_issuers_to_decide(post: Post) -> None:
    request = service_pb2.ReattestRequest(csr=CSR, statement=STATEMENT).SerializeToString()

    assert await service(post).reattest(request, "192.0.2.1")
    assert isinstance(post.issuer.asked[-1], Reattest)
    post.issuer.refuses = Refusal.RECOVERIES
    with pytest.raises(IssuerRefused):
        await service(post).reattest(request, "192.0.2.1")


async def test_an_issuer_that_is_away_is_told_as_such(post: Post) -> None:
    post.issuer.is_down = True

    with pytest.raises(IssuerUnavailable):
        await service(post).begin(service_pb2.BeginRequest(tenant=TENANT.bytes).SerializeToString())
