"""Every call goes through the enforcement point: handlers are made here and nowhere else.

Interceptors of gRPC do not see the peer, so each handler is wrapped. There is one for each line of
the table, and none besides: a method that was not asked about cannot be reached.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from collector.errors import AccessDenied
from collector.gateway.counts import GatewayCounts
from collector.gateway.enforcement import Enforcement, Session
from collector.gateway.policy import POLICY, Access, Listener, Rule, Shape
from collector.gateway.statuses import status_of
from proto.errors import TooLarge
from runtime.clock import NS_PER_S, Clock
from runtime.errors import Fault, VedetteError
from runtime.logs import logger

# One line a second for each kind of refusal: whoever is refused can ask again at any rate.
_LINE_WAIT_NS: Final = NS_PER_S

Context = grpc.aio.ServicerContext[bytes, bytes]
Open = Callable[[bytes, str], Awaitable[bytes]]
Unary = Callable[[Session, bytes, str], Awaitable[bytes]]
Pieces = Callable[[Session, bytes], AsyncIterator[bytes]]
Push = Callable[[Session, Context], Awaitable[None]]
Method = Open | Unary | Pieces | Push


def source_of(peer: str) -> str:
    """Return the address in gRPC's name of a peer, without the port.

    Args:
        peer: such as ``ipv4:192.0.2.1:4711`` or ``ipv6:%5B2001:db8::1%5D:4711``.
    """
    _, _, address = peer.partition(":")
    host, _, _ = address.rpartition(":")
    return (host or address).replace("%5B", "").replace("%5D", "")[:128]


class PolicedHandlers(grpc.GenericRpcHandler):
    """The methods of one listener.

    Args:
        listener: which.
        methods: one for each line that the table has for it.
        enforcement: decides.
        counts: added to.
        clock: for the rate of log lines.
    """

    def __init__(
        self,
        listener: Listener,
        methods: Mapping[str, Method],
        enforcement: Enforcement,
        counts: GatewayCounts,
        clock: Clock,
    ) -> None:
        wanted = {name for of, name in POLICY if of is listener}
        if wanted != methods.keys():
            raise AssertionError(f"table and methods differ: {wanted ^ methods.keys()}")
        self._enforcement = enforcement
        self._counts = counts
        self._clock = clock
        self._told_ns: dict[object, int] = {}
        self._log = logger(__name__).bind(listener=listener.value)
        self._handlers = {
            name: self._wrapped(POLICY[listener, name], method) for name, method in methods.items()
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the handler of exactly this method; None where the table has no such line."""
        return self._handlers.get(handler_call_details.method)

    def _wrapped(self, rule: Rule, method: Any) -> "grpc.RpcMethodHandler[Any, Any]":  # noqa: ANN401
        match rule.access, rule.shape:
            case Access.ANYONE, Shape.ONE_TO_ONE:
                return grpc.unary_unary_rpc_method_handler(self._open(rule, method))
            case Access.AGENT, Shape.ONE_TO_ONE:
                return grpc.unary_unary_rpc_method_handler(self._unary(rule, method))
            case Access.AGENT, Shape.ONE_TO_MANY:
                return grpc.unary_stream_rpc_method_handler(self._pieces(rule, method))
            case Access.AGENT, Shape.MANY_TO_MANY:
                return grpc.stream_stream_rpc_method_handler(self._stream(method))
            case _:
                raise AssertionError(f"no call is made like {rule}")

    def _open(self, rule: Rule, method: Open) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def call(request: bytes, context: Context) -> bytes:
            try:
                self._enforcement.enter_open(context)
                _check_size(rule, request)
                return await method(request, source_of(context.peer()))
            except VedetteError as error:
                return await self._refuse(error, context)

        return call

    def _unary(self, rule: Rule, method: Unary) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def call(request: bytes, context: Context) -> bytes:
            try:
                async with self._enforcement.enter(context) as session:
                    _check_size(rule, request)
                    return await method(session, request, source_of(context.peer()))
            except VedetteError as error:
                return await self._refuse(error, context)

        return call

    def _pieces(self, rule: Rule, method: Pieces) -> Callable[[bytes, Context], Awaitable[None]]:
        async def call(request: bytes, context: Context) -> None:
            try:
                async with self._enforcement.enter(context) as session:
                    _check_size(rule, request)
                    async for piece in method(session, request):
                        await context.write(piece)
            except VedetteError as error:
                await self._refuse(error, context)

        return call

    def _stream(self, method: Push) -> Callable[[object, Context], Awaitable[None]]:
        async def call(_messages: object, context: Context) -> None:
            try:
                async with self._enforcement.enter(context) as session:
                    await method(session, context)
            except VedetteError as error:
                await self._refuse(error, context)

        return call

    async def _refuse(self, error: VedetteError, context: Context) -> NoReturn:
        code, told = status_of(error)
        kind: object = type(error)
        if isinstance(error, AccessDenied):
            self._counts.denied[error.denial] += 1
            kind = error.denial
        source = source_of(context.peer())
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._told_ns.get(kind, -_LINE_WAIT_NS) >= _LINE_WAIT_NS:
            self._told_ns[kind] = now_ns
            self._tell(code, error)("call refused", status=code.name, source=source, error=error)
        await context.abort(code, told)

    def _tell(self, code: grpc.StatusCode, error: VedetteError) -> Callable[..., None]:
        if code is grpc.StatusCode.NOT_FOUND:
            # Asking whether there is something newer is how hosts learn that there is not.
            return self._log.debug
        return self._log.warning if error.fault is Fault.PEER else self._log.error


def _check_size(rule: Rule, request: bytes) -> None:
    if len(request) > rule.request_bytes_max:
        raise TooLarge(f"{len(request)} bytes, at most {rule.request_bytes_max} allowed")
