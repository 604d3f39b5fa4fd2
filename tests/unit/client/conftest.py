"""A real gRPC server in the test's process that answers as a test tells it to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_status import rpc_status
from pharos.push.v1 import (
    delivery_status_pb2,
    delivery_status_pb2_grpc,
    device_registrations_pb2_grpc,
    operations_pb2_grpc,
    push_notifications_pb2_grpc,
    stream_tokens_pb2_grpc,
)

from client.channels import MAX_MESSAGE_BYTES
from client.push_client import PushClient

ACCOUNT_ID = "comms_account_1"
AUTH_TOKEN = "token-of-the-test"

Context = grpc.aio.ServicerContext[Any, Any]


class Refusal:
    """An error to answer with, with google.rpc details."""

    def __init__(self, code: grpc.StatusCode, message: str = "no", details: Sequence[Message] = ()) -> None:
        self.code = code
        self.message = message
        self.details = details

    async def abort(self, context: Context) -> None:
        packed = [any_pb2.Any() for _ in self.details]
        for each, detail in zip(packed, self.details, strict=True):
            each.Pack(detail)
        status = status_pb2.Status(code=self.code.value[0], message=self.message, details=packed)
        await context.abort_with_status(rpc_status.to_status(status))


class BrokenOff:
    """An end that the service itself has not made: a code without details."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self.code = code


class Silence:
    """Makes a stream say nothing more, for good."""


class Service:
    """Answers come from `answers` (unary calls) and `streams` (one list of steps for each watch); calls are noted."""

    def __init__(self) -> None:
        self.answers: deque[Message | Refusal] = deque()
        self.streams: deque[list[Message | Refusal | BrokenOff | Silence]] = deque()
        self.calls: list[tuple[Message, dict[str, str]]] = []
        self.reader_left = asyncio.Event()
        self.port = 0
        self._server: grpc.aio.Server | None = None

    def refuse(self, code: grpc.StatusCode, message: str = "no", *details: Message) -> Refusal:
        return Refusal(code, message, details)

    def broken_off(self, code: grpc.StatusCode) -> BrokenOff:
        return BrokenOff(code)

    def silence(self) -> Silence:
        return Silence()

    @property
    def requests(self) -> list[Any]:
        return [request for request, _ in self.calls]

    @property
    def metadata(self) -> list[dict[str, str]]:
        return [metadata for _, metadata in self.calls]

    async def start(self) -> None:
        """Listens, on the same port as before if there was one."""
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
        server = grpc.aio.server(options=options)
        push_notifications_pb2_grpc.add_PushNotificationServiceServicer_to_server(_Notifications(self), server)
        operations_pb2_grpc.add_OperationServiceServicer_to_server(_Operations(self), server)
        device_registrations_pb2_grpc.add_DeviceRegistrationServiceServicer_to_server(_Registrations(self), server)
        stream_tokens_pb2_grpc.add_StreamTokenServiceServicer_to_server(_StreamTokens(self), server)
        delivery_status_pb2_grpc.add_DeliveryStatusServiceServicer_to_server(_Statuses(self), server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Cuts all connections at once."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def note(self, request: Message, context: Context) -> None:
        metadata = context.invocation_metadata() or ()
        self.calls.append((request, {str(key): str(value) for key, value in metadata}))

    async def answer(self, request: Message, context: Context) -> Any:
        self.note(request, context)
        answer = self.answers.popleft()
        if isinstance(answer, Refusal):
            await answer.abort(context)
        return answer


class _Notifications(push_notifications_pb2_grpc.PushNotificationServiceServicer):
    def __init__(self, service: Service) -> None:
        self.SendPushNotification = service.answer
        self.GetPushNotification = service.answer
        self.ListPushNotifications = service.answer


class _Operations(operations_pb2_grpc.OperationServiceServicer):
    def __init__(self, service: Service) -> None:
        self.GetOperation = service.answer
        self.ListOperations = service.answer


class _Registrations(device_registrations_pb2_grpc.DeviceRegistrationServiceServicer):
    def __init__(self, service: Service) -> None:
        self.RegisterDevice = service.answer
        self.DeleteDeviceRegistration = service.answer


class _StreamTokens(stream_tokens_pb2_grpc.StreamTokenServiceServicer):
    def __init__(self, service: Service) -> None:
        self.CreateStreamToken = service.answer


class _Statuses(delivery_status_pb2_grpc.DeliveryStatusServiceServicer):
    def __init__(self, service: Service) -> None:
        self._service = service

    async def WatchDeliveryStatus(  # noqa: N802 - gRPC's name
        self, request: delivery_status_pb2.WatchDeliveryStatusRequest, context: Context
    ) -> AsyncIterator[Any]:
        self._service.note(request, context)
        context.add_done_callback(lambda _: self._service.reader_left.set())
        for step in self._service.streams.popleft():
            if isinstance(step, Refusal):
                await step.abort(context)
            elif isinstance(step, BrokenOff):
                await context.abort(step.code, "Received RST_STREAM")
            elif isinstance(step, Silence):
                await asyncio.Event().wait()
            else:
                yield step


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[PushClient]:
    async with PushClient(f"127.0.0.1:{service.port}", ACCOUNT_ID, AUTH_TOKEN, timeout=10) as client:
        yield client
