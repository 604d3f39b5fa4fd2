"""The gRPC server as a whole: our services behind the interceptor, health and reflection beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pharos.push.v1 import apps_pb2_grpc as apps
from pharos.push.v1 import credentials_pb2_grpc as credentials
from pharos.push.v1 import delivery_status_pb2_grpc as statuses
from pharos.push.v1 import device_registrations_pb2_grpc as registrations
from pharos.push.v1 import operations_pb2_grpc as operations
from pharos.push.v1 import push_notifications_pb2_grpc as notifications
from pharos.push.v1 import stream_tokens_pb2_grpc as stream_tokens
from pharos.push.v1 import users_pb2_grpc as users
from pharos.push.v1 import webhooks_pb2_grpc as webhooks

from server.domain.errors import Unavailable

MAX_MESSAGE_BYTES: Final = 32 << 20

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a share of the connections
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
)

_PACKAGE: Final = "pharos.push.v1"
_SERVICES: Final[Sequence[tuple[type, Callable[[Any, grpc.aio.Server], None]]]] = (
    (apps.AppServiceServicer, apps.add_AppServiceServicer_to_server),
    (credentials.CredentialServiceServicer, credentials.add_CredentialServiceServicer_to_server),
    (statuses.DeliveryStatusServiceServicer, statuses.add_DeliveryStatusServiceServicer_to_server),
    (registrations.DeviceRegistrationServiceServicer, registrations.add_DeviceRegistrationServiceServicer_to_server),
    (operations.OperationServiceServicer, operations.add_OperationServiceServicer_to_server),
    (notifications.PushNotificationServiceServicer, notifications.add_PushNotificationServiceServicer_to_server),
    (stream_tokens.StreamTokenServiceServicer, stream_tokens.add_StreamTokenServiceServicer_to_server),
    (users.UserServiceServicer, users.add_UserServiceServicer_to_server),
    (webhooks.WebhookServiceServicer, webhooks.add_WebhookServiceServicer_to_server),
)

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class ApiServer:
    """Listens on ``address`` (as ``127.0.0.1:0`` or ``unix:/path``) from ``start`` to ``stop``.

    Health says NOT_SERVING until ``watch_database`` has seen the database, and again from the beginning of ``stop``.
    """

    def __init__(
        self,
        address: str,
        servicers: Sequence[object],
        interceptor: grpc.aio.ServerInterceptor,
        *,
        tls: grpc.ServerCredentials | None = None,
    ) -> None:
        self._address = address
        self._tls = tls
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(interceptors=(interceptor,), options=_OPTIONS)
        self._names = ["", *(_add(servicer, self._server) for servicer in servicers)]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        shown = (*self._names[1:], health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(shown, self._server)

    async def start(self) -> int:
        """Begin to take calls and return the port. Raises ``RuntimeError`` when the address can't be had."""
        await self._say(serving=False)
        port = self._listen()
        await self._server.start()
        return port

    async def watch_database(self, ping: Callable[[], Awaitable[None]], *, every: float = 2.0) -> None:
        """Let health follow the database until cancelled; ``every`` is in seconds.

        ``ping`` raises ``Unavailable`` or ``TimeoutError`` for a database that can't be used now; any other error ends
        the watch, and is meant to end the process.
        """
        while True:
            await self._say(serving=await _answers(ping))
            await asyncio.sleep(every)

    async def stop(self, grace: float) -> None:
        """Refuse new calls, give running ones ``grace`` seconds, then cancel them."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)

    def _listen(self) -> int:
        if self._tls is None:
            return self._server.add_insecure_port(self._address)
        return self._server.add_secure_port(self._address, self._tls)

    async def _say(self, *, serving: bool) -> None:
        for name in self._names:
            await self._health.set(name, _SERVING if serving else _NOT_SERVING)


def _add(servicer: object, server: grpc.aio.Server) -> str:
    for contract, add in _SERVICES:
        if isinstance(servicer, contract):
            add(servicer, server)
            return f"{_PACKAGE}.{contract.__name__.removesuffix('Servicer')}"
    raise TypeError(f"{type(servicer).__name__} serves none of {_PACKAGE}'s services")


async def _answers(ping: Callable[[], Awaitable[None]]) -> bool:
    try:
        await ping()
    except (Unavailable, TimeoutError):
        return False
    return True
