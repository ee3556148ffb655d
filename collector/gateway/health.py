"""The standard health check: can a batch be kept now?

Source: grpc/grpc, doc/health-checking.md.
"""

from collections.abc import Callable

from collector.errors import NoSuchService
from collector.gateway import messages


class HealthService:
    """Answers for the whole process and for each service of the table.

    Args:
        services: full names, such as ``vedette.v1.Intake``.
        is_serving: whether a batch can be kept now.
    """

    def __init__(self, services: frozenset[str], is_serving: Callable[[], bool]) -> None:
        self._services = services
        self._is_serving = is_serving

    def check(self, request: bytes) -> bytes:
        """Return the health of one service.

        Raises:
            TooLarge: over the limit.
            Malformed: not such a request.
            NoSuchService: nothing of that name is served here.
        """
        service = messages.parse_health(request)
        if service and service not in self._services:
            raise NoSuchService("no such service")
        return messages.health_response(serving=self._is_serving())
