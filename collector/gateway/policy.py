"""Who may call what: one literal table. What does not stand in it does not exist.

The name is compared as the raw bytes of the request's path: no trimming, no decoding, no case. A
path that differs in one byte is another method, and there is none.
"""

import enum
from collections.abc import Mapping

from msgspec import Struct


class Listener(enum.Enum):
    """Where a call comes in."""

    # Server TLS only: hosts that have no certificate yet.
    ENROLLMENT = "enrollment"
    # Mutual TLS.
    INTAKE = "intake"


class Access(enum.Enum):
    """What a caller must have shown."""

    ANYONE = "anyone"
    AGENT = "agent"


class Shape(enum.Enum):
    """How many messages go each way."""

    ONE_TO_ONE = "one_to_one"
    ONE_TO_MANY = "one_to_many"
    MANY_TO_MANY = "many_to_many"


class Rule(Struct, frozen=True):
    """What one method asks for.

    Args:
        access: who may call it.
        shape: of the call.
        request_bytes_max: the largest request.
    """

    access: Access
    shape: Shape
    request_bytes_max: int


_KIB = 1024
_JOIN = Rule(Access.ANYONE, Shape.ONE_TO_ONE, 32 * _KIB)
_ASK = Rule(Access.AGENT, Shape.ONE_TO_ONE, 32 * _KIB)
_ENROLLMENT, _INTAKE = Listener.ENROLLMENT, Listener.INTAKE

POLICY: Mapping[tuple[Listener, str], Rule] = {
    (_ENROLLMENT, "/vedette.v1.Enrollment/Begin"): _JOIN,
    (_ENROLLMENT, "/vedette.v1.Enrollment/Enroll"): _JOIN,
    (_ENROLLMENT, "/vedette.v1.Enrollment/Reattest"): _JOIN,
    (_ENROLLMENT, "/grpc.health.v1.Health/Check"): _JOIN,
    (_INTAKE, "/vedette.v1.Intake/Push"): Rule(Access.AGENT, Shape.MANY_TO_MANY, 4 * _KIB * _KIB),
    (_INTAKE, "/vedette.v1.Identity/Challenge"): _ASK,
    (_INTAKE, "/vedette.v1.Identity/Renew"): _ASK,
    (_INTAKE, "/vedette.v1.Content/Get"): Rule(Access.AGENT, Shape.ONE_TO_MANY, 32 * _KIB),
    (_INTAKE, "/vedette.v1.Log/Checkpoint"): _ASK,
    (_INTAKE, "/vedette.v1.Log/Proof"): _ASK,
    (_INTAKE, "/vedette.v1.Log/Consistency"): _ASK,
    (_INTAKE, "/grpc.health.v1.Health/Check"): _ASK,
}
