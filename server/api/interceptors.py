"""What every call of our services goes through: request id, authentication, validation, error mapping, a log line."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias
from uuid import uuid4

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2
from grpc_status import rpc_status

from server.api.authentication import Authenticator
from server.api.calls import Call, current_call
from server.api.errors import status_of
from server.api.meaning import meaningless
from server.api.validation import broken_rules, check
from server.domain.errors import Invalid, NotImplementedYet, SlowReader, Violation
from server.logs import trace_of

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Read: TypeAlias = Callable[[bytes], Message]

# Methods that check the rules themselves, to report what breaks them together with what can't be carried out.
_CHECKS_ITSELF: Final = frozenset({"/pharos.push.v1.PushNotificationService/SendPushNotification"})
_OPEN: Final = ("/grpc.health.v1.", "/grpc.reflection.")
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_log = structlog.get_logger("server.api")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Guards unary and server-streaming methods; the latter must be async generators.

    Health and reflection are open to all. Handlers raise domain errors and never abort themselves.
    """

    def __init__(self, authenticator: Authenticator, *, write_seconds: float = 30.0) -> None:
        self._authenticator = authenticator
        self._write_seconds = write_seconds
        self._handlers: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            return grpc.unary_unary_rpc_method_handler(self._refuse_unknown(method))
        self._handlers[method] = handler if method.startswith(_OPEN) else self._guard(method, handler)
        return self._handlers[method]

    def _guard(self, method: str, handler: Handler) -> Handler:
        read = handler.request_deserializer
        assert read is not None, "generated code has one"
        codec = {"response_serializer": handler.response_serializer}
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._guard_unary(method, read, handler.unary_unary), **codec)
        if handler.unary_stream is not None:
            guarded = self._guard_stream(method, read, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(guarded, response_serializer=_serialised)
        raise TypeError(f"{method} streams requests: the interceptor does not know how to guard that")

    def _guard_unary(self, method: str, read: Read, answer: Callable[..., Any]) -> Callable[..., Any]:
        async def guarded(request: bytes, context: Context) -> Any:
            async with self._call(method, context):
                message = _message(read, request)
                if _only_check(context):
                    raise Invalid(*meaningless(message, broken_rules(message)))
                if method not in _CHECKS_ITSELF:
                    check(message)
                return await answer(message, context)

        return guarded

    def _guard_stream(self, method: str, read: Read, answer: Callable[..., Any]) -> Callable[..., Any]:
        async def guarded(request: bytes, context: Context) -> None:
            async with self._call(method, context):
                message = _message(read, request)
                check(message)
                async with contextlib.aclosing(answer(message, context)) as answers:
                    async for each in answers:
                        await self._write(each, context)

        return guarded

    def _refuse_unknown(self, method: str) -> Callable[..., Any]:
        async def refuse(_request: bytes, context: Context) -> None:
            async with self._call(method, context):
                raise NotImplementedYet("this server does not have this method")

        return refuse

    async def _write(self, message: Message | bytes, context: Context) -> None:
        """A write waits while the reader takes nothing. Raises ``SlowReader`` when that lasts.

        Yielded instead, a call's end would reach the handler only some time later.
        """
        try:
            async with asyncio.timeout(self._write_seconds):
                await context.write(message)
        except TimeoutError:
            raise SlowReader("messages are not taken; resume from the last token") from None

    @contextlib.asynccontextmanager
    async def _call(self, method: str, context: Context) -> AsyncIterator[None]:
        began = time.perf_counter()
        metadata = dict(context.invocation_metadata() or ())
        call = Call(method, _request_id(metadata.get("x-request-id")))
        current_call.set(call)
        try:
            call.account = await self._authenticator.account(str(metadata.get("authorization", "")))
            yield
        except asyncio.CancelledError:
            _log_end(call, began, "CANCELLED")
            raise
        except Exception as raised:  # noqa: BLE001 - the caller is told as little as its kind allows, the log the rest
            if context.cancelled():  # the caller is gone: a write to it fails in gRPC's own ways
                _log_end(call, began, "CANCELLED")
                return
            unwritten = isinstance(raised, NotImplementedError)
            error = NotImplementedYet("this server does not have this method") if unwritten else raised
            status = status_of(error, call.request_id)
            _log_end(call, began, code_pb2.Code.Name(status.code), error if status.code == code_pb2.INTERNAL else None)
            await context.abort_with_status(rpc_status.to_status(status))
        else:
            _log_end(call, began, "OK")


def _serialised(message: Message | bytes) -> bytes:
    """A handler may have serialised a message itself, once for many calls."""
    return message if isinstance(message, bytes) else message.SerializeToString()


def _message(read: Read, request: bytes) -> Message:
    """Read here and not by gRPC, which would call bytes that are no message an internal error."""
    try:
        return read(request)
    except DecodeError:
        raise Invalid(Violation("request", "is not a message of this method, or has text that is not UTF-8")) from None


def _only_check(context: Context) -> bool:
    """Whether the caller, which has found the request malformed, wants to know what else is wrong with the rest of it.

    Then nothing is carried out, whatever the answer.
    """
    return ("pharos-only-check", "true") in {(key, value) for key, value in context.invocation_metadata() or ()}


def _request_id(given: str | bytes | None) -> str:
    if isinstance(given, str) and _REQUEST_ID.fullmatch(given):
        return given
    return uuid4().hex


def _log_end(call: Call, began: float, code: str, fault: Exception | None = None) -> None:
    event = {
        "method": call.method,
        "code": code,
        "ms": round((time.perf_counter() - began) * 1000, 1),
        "request_id": call.request_id,
        "account": str(call.account) if call.account else None,
    }
    if fault is None:
        _log.info("call", **event)
    else:
        _log.error("call", **event, error=type(fault).__qualname__, traceback=trace_of(fault))
