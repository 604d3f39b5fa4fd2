"""The scripted gRPC service that the gateway's contract tests run against, and clients of a gateway before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Self

import grpc
import httpx
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health, health_pb2_grpc
from grpc_status import rpc_status
from pharos.push.v1 import push_notifications_pb2

from gateway.app import Gateway, open_channel
from gateway.contract import Rpc, read_contract
from gateway.serving import Server, listen
from gateway.settings import Settings
from tests.plain_http import TRUSTS_NOBODY

USER = "comms_pushnotificationuser_01h2xcejqtf2nbrexx3vqjhp41"
OPERATION = "comms_operation_01h2xcejqtf2nbrexx3vqjhp41"
NOTIFICATION = "comms_pushnotification_01h2xcejqtf2nbrexx3vqjhp41"
REGISTRATION = "comms_device_registration_01h2xcejqtf2nbrexx3vqjhp41"
CREDENTIAL = "comms_credential_01h2xcejqtf2nbrexx3vqjhp41"
ACCEPTED = push_notifications_pb2.SendPushNotificationResponse(
    operation_id=OPERATION, operation_location=f"/v1/PushNotifications/Operations/{OPERATION}"
)
NOON = Timestamp(seconds=int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()), nanos=987_000_000)


class Upstream:
    """A gRPC server of the whole contract that records every call and answers as the test says.

    Of a request that is only to be checked it finds no rule broken.

    An answer is a message, a `google.rpc.Status` to fail with, or an async function (an async generator for a
    stream) of request and context. What has none answers with an empty message.
    """

    def __init__(self, port: int = 0) -> None:
        self.calls: list[tuple[str, Any, dict[str, str]]] = []
        self.checked: list[Any] = []  # what of malformed requests was sound
        self.called = asyncio.Event()
        self.answers: dict[str, Any] = {}
        self.health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 2**25)])
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        for rpc in read_contract():
            self._server.add_generic_rpc_handlers([self._handler(rpc)])
        self.target = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    @property
    def request(self) -> Any:
        """The request of the only call."""
        [(_, request, _)] = self.calls
        return request

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of the only call."""
        [(_, _, metadata)] = self.calls
        return metadata

    def _handler(self, rpc: Rpc) -> grpc.GenericRpcHandler:
        name, kind = rpc.method.name, GetMessageClass(rpc.method.output_type)
        request = GetMessageClass(rpc.method.input_type)
        if rpc.method.server_streaming:
            method = grpc.unary_stream_rpc_method_handler(
                self._stream(name), request_deserializer=request.FromString, response_serializer=kind.SerializeToString
            )
        else:
            method = grpc.unary_unary_rpc_method_handler(
                self._unary(name, kind),
                request_deserializer=request.FromString,
                response_serializer=kind.SerializeToString,
            )
        return grpc.method_handlers_generic_handler(rpc.method.containing_service.full_name, {name: method})

    def _record(self, name: str, request: Any, context: Any) -> Any:
        self.calls.append((name, request, dict(context.invocation_metadata())))
        self.called.set()
        return self.answers.get(name)

    def _unary(self, name: str, kind: Any) -> Callable[..., Any]:
        async def answer(request: Any, context: Any) -> Any:
            if ("pharos-only-check", "true") in context.invocation_metadata():
                self.checked.append(request)
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "")
            scripted = self._record(name, request, context)
            if scripted is None:
                return kind()
            if callable(scripted):
                return await scripted(request, context)
            if isinstance(scripted, kind):
                return scripted
            return await context.abort_with_status(rpc_status.to_status(scripted))

        return answer

    def _stream(self, name: str) -> Callable[..., Any]:
        async def answer(request: Any, context: Any) -> AsyncIterator[Any]:
            async for message in self._record(name, request, context)(request, context):
                yield message

        return answer


@asynccontextmanager
async def rest(target: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A REST client of a gateway in front of the target."""
    async with open_channel(target) as channel:
        transport = httpx.ASGITransport(Gateway(channel, Settings(**settings)))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://push.test", auth=("AC1", "secret")
        ) as client:
            yield client


@asynccontextmanager
async def serving(target: str, **settings: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Server]]:
    """A gateway on a real port, its client, and its server."""
    listening = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    ready = asyncio.Event()
    async with open_channel(target) as channel, asyncio.TaskGroup() as tasks:
        server = Server(Gateway(channel, Settings(**settings)), listening, ready.set)
        tasks.create_task(server.serve_until_stopped())
        await ready.wait()
        async with httpx.AsyncClient(base_url=url, auth=("AC1", "secret"), timeout=10, verify=TRUSTS_NOBODY) as client:
            yield client, server
        server.should_exit = True
