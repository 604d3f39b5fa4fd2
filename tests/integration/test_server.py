"""The server as a whole: health, reflection, its limits, and how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pharos.push.v1 import users_pb2, users_pb2_grpc

from server.api.authentication import Authenticator
from server.api.interceptors import CallInterceptor
from server.api.server import ApiServer
from server.domain.accounts import Identity, secret_hash
from server.domain.errors import Unavailable
from server.store.database import Database

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_USER_SERVICE = "pharos.push.v1.UserService"
_AUTHORIZATION = ("authorization", "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwNzp0b2tlbg==")


class _AnyAccount:
    async def account_identity(self, account: UUID) -> Identity | None:
        return Identity(account, secret_hash("token"))

    async def key_identity(self, key: UUID) -> Identity | None:
        return Identity(key, secret_hash("token"))


class _Users(users_pb2_grpc.UserServiceServicer):
    """GetUser waits until it may answer; ListUsers answers with its token."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def GetUser(self, request: Any, context: Any) -> users_pb2.GetUserResponse:  # noqa: ARG002, N802 - the contract's
        self.called.set()
        await self.may_answer.wait()
        return users_pb2.GetUserResponse()


@pytest.fixture
def servicer() -> _Users:
    return _Users()


@pytest.fixture
async def server(servicer: _Users) -> AsyncIterator[ApiServer]:
    made = ApiServer("127.0.0.1:0", [servicer], CallInterceptor(Authenticator(_AnyAccount())))
    yield made
    await made.stop(grace=0)


@pytest.fixture
async def channel(server: ApiServer) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await server.start()}", options=options) as opened:
        yield opened


def _get_user(channel: grpc.aio.Channel, size: int = 0) -> grpc.aio.UnaryUnaryCall:
    request = users_pb2.GetUserRequest(user_id="comms_user_01m815cb4hev1ssrsmmsa7gj7q" + "x" * size)
    return users_pb2_grpc.UserServiceStub(channel).GetUser(request, metadata=[_AUTHORIZATION], timeout=20)


async def _next_health(watch: Any) -> int:
    async with asyncio.timeout(10):
        return (await watch.read()).status


async def test_health_follows_the_database(server: ApiServer, channel: grpc.aio.Channel, database: Database) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    watches = [stub.Watch(health_pb2.HealthCheckRequest(service=name)) for name in ("", _USER_SERVICE)]
    assert [await _next_health(watch) for watch in watches] == [_NOT_SERVING] * 2
    following = asyncio.create_task(server.watch_database(database.ping, every=0.01))
    assert [await _next_health(watch) for watch in watches] == [_SERVING] * 2
    await database.close()
    assert [await _next_health(watch) for watch in watches] == [_NOT_SERVING] * 2
    following.cancel()
    for watch in watches:
        watch.cancel()


async def test_health_comes_back_with_the_database(server: ApiServer, channel: grpc.aio.Channel) -> None:
    answers: list[BaseException | None] = [None, Unavailable("gone"), TimeoutError(), None]

    async def ping() -> None:
        if not answers:
            await asyncio.Event().wait()
        if (error := answers.pop(0)) is not None:
            raise error

    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    seen = [await _next_health(watch)]
    following = asyncio.create_task(server.watch_database(ping, every=0.05))
    seen += [await _next_health(watch) for _ in range(3)]
    assert seen == [_NOT_SERVING, _SERVING, _NOT_SERVING, _SERVING]
    following.cancel()
    watch.cancel()


async def test_an_error_that_nobody_foresaw_ends_the_watch(server: ApiServer) -> None:
    async def ping() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await server.watch_database(ping)


async def test_stopping_lets_running_calls_finish_and_says_not_serving(
    server: ApiServer, servicer: _Users, channel: grpc.aio.Channel
) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert await _next_health(watch) == _NOT_SERVING
    following = asyncio.create_task(server.watch_database(_up, every=0.01))
    assert await _next_health(watch) == _SERVING
    call = _get_user(channel)
    await servicer.called.wait()
    stopping = asyncio.create_task(server.stop(grace=10))
    assert await _next_health(watch) == _NOT_SERVING
    watch.cancel()
    servicer.may_answer.set()
    assert await call == users_pb2.GetUserResponse()
    async with asyncio.timeout(5):
        await stopping
    following.cancel()


async def test_after_the_grace_running_calls_are_canceled(
    server: ApiServer, servicer: _Users, channel: grpc.aio.Channel
) -> None:
    call = _get_user(channel)
    await servicer.called.wait()
    async with asyncio.timeout(5):
        await server.stop(grace=0.1)
    with pytest.raises(grpc.aio.AioRpcError):
        await call


async def test_reflection_shows_our_services_to_anyone(channel: grpc.aio.Channel) -> None:
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await call.read()
    await call.done_writing()
    assert {service.name for service in answer.list_services_response.service} == {
        _USER_SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert await call.read() is grpc.aio.EOF


async def test_messages_may_have_32_mebibytes(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as allowed:
        await _get_user(channel, (32 << 20) - 100)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _get_user(channel, 32 << 20)
    assert allowed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_port_in_use_is_an_error(server: ApiServer) -> None:
    port = await server.start()
    second = ApiServer(f"127.0.0.1:{port}", [], CallInterceptor(Authenticator(_AnyAccount())))
    with pytest.raises(RuntimeError):
        await second.start()
    await second.stop(grace=0)


async def test_it_listens_on_a_unix_socket(tmp_path: Path, servicer: _Users) -> None:
    servicer.may_answer.set()
    server = ApiServer(f"unix:{tmp_path}/s", [servicer], CallInterceptor(Authenticator(_AnyAccount())))
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as channel:
        assert await _get_user(channel) == users_pb2.GetUserResponse()
    await server.stop(grace=0)


async def test_only_our_servicers_can_be_served() -> None:
    with pytest.raises(TypeError, match="object"):
        ApiServer("127.0.0.1:0", [object()], CallInterceptor(Authenticator(_AnyAccount())))


async def _up() -> None:
    """A database that always answers."""
