"""Which function answers which line of the table; one too many or too few is a start-up error."""

from collections.abc import AsyncIterator

from collector.gateway.content import ContentService
from collector.gateway.enforcement import Session
from collector.gateway.enrollment import EnrollmentService
from collector.gateway.handlers import Context, Method
from collector.gateway.health import HealthService
from collector.gateway.identity import IdentityService
from collector.gateway.logbook import LogService
from collector.gateway.stream import Intake


def enrollment_methods(joining: EnrollmentService, health: HealthService) -> dict[str, Method]:
    """Return what hosts without a certificate may call."""

    async def begin(request: bytes, _source: str) -> bytes:
        return await joining.begin(request)

    async def check(request: bytes, _source: str) -> bytes:
        return health.check(request)

    return {
        "/vedette.v1.Enrollment/Begin": begin,
        "/vedette.v1.Enrollment/Enroll": joining.enroll,
        "/vedette.v1.Enrollment/Reattest": joining.reattest,
        "/grpc.health.v1.Health/Check": check,
    }


def intake_methods(
    intake: Intake,
    identity: IdentityService,
    content: ContentService,
    log: LogService,
    health: HealthService,
) -> dict[str, Method]:
    """Return what agents may call."""

    async def push(session: Session, context: Context) -> None:
        await intake.push(session, context)

    async def challenge(_session: Session, _request: bytes, _source: str) -> bytes:
        return await identity.challenge()

    def get(session: Session, request: bytes) -> AsyncIterator[bytes]:
        return content.get(session, request)

    async def checkpoint(session: Session, _request: bytes, _source: str) -> bytes:
        return await log.checkpoint(session)

    async def proof(session: Session, request: bytes, _source: str) -> bytes:
        return await log.proof(session, request)

    async def consistency(session: Session, request: bytes, _source: str) -> bytes:
        return await log.consistency(session, request)

    async def check(_session: Session, request: bytes, _source: str) -> bytes:
        return health.check(request)

    return {
        "/vedette.v1.Intake/Push": push,
        "/vedette.v1.Identity/Challenge": challenge,
        "/vedette.v1.Identity/Renew": identity.renew,
        "/vedette.v1.Content/Get": get,
        "/vedette.v1.Log/Checkpoint": checkpoint,
        "/vedette.v1.Log/Proof": proof,
        "/vedette.v1.Log/Consistency": consistency,
        "/grpc.health.v1.Health/Check": check,
    }
