"""What callers are told when a call fails, and what the log is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

import grpc
import pytest
import structlog
from google.rpc.error_details_pb2 import RequestInfo, RetryInfo
from pharos.push.v1 import (
    delivery_status_pb2,
    delivery_status_pb2_grpc,
    device_registrations_pb2,
    users_pb2,
    users_pb2_grpc,
)

from server.api.authentication import Authenticator
from server.api.calls import current_account
from server.api.interceptors import CallInterceptor
from server.api.server import ApiServer
from server.domain.accounts import Identity, secret_hash
from server.domain.errors import SlowReader, Unavailable

if TYPE_CHECKING:
    from tests.conftest import Caller, Refuse

_ACCOUNT = UUID(int=7)
_AUTHORIZATION = ("authorization", "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwNzp0b2tlbg==")
_USER = users_pb2.GetUserRequest(user_id="comms_user_01m815cb4hev1ssrsmmsa7gj7q")
_SECRET = "s3cr3t-0f-the-driver"

Serve = Callable[..., Awaitable[grpc.aio.Channel]]


class _OneAccount:
    async def account_identity(self, account: UUID) -> Identity | None:
        return Identity(_ACCOUNT, secret_hash("token")) if account == _ACCOUNT else None

    async def key_identity(self, key: UUID) -> Identity | None:  # noqa: ARG002 - the directory's
        return None


class _Users(users_pb2_grpc.UserServiceServicer):
    """Answers GetUser as the test says; the other methods are not written."""

    def __init__(self, answer: Callable[[], Awaitable[Any]]) -> None:
        self._answer = answer

    async def GetUser(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the contract's
        return await self._answer()


class _Statuses(delivery_status_pb2_grpc.DeliveryStatusServiceServicer):
    def __init__(self, answer: Callable[[], AsyncIterator[Any]]) -> None:
        self._answer = answer

    def WatchDeliveryStatus(self, _request: Any, _context: Any) -> AsyncIterator[Any]:  # noqa: N802 - the contract's
        return self._answer()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve these servicers and open a channel to them."""
    servers: list[ApiServer] = []
    channels: list[grpc.aio.Channel] = []

    async def start(*servicers: object) -> grpc.aio.Channel:
        server = ApiServer("127.0.0.1:0", servicers, CallInterceptor(Authenticator(_OneAccount())))
        servers.append(server)
        channels.append(grpc.aio.insecure_channel(f"127.0.0.1:{await server.start()}"))
        return channels[-1]

    yield start
    for channel in channels:
        await channel.close()
    for server in servers:
        await server.stop(grace=0)


def _get_user(channel: grpc.aio.Channel, *metadata: tuple[str, str]) -> grpc.aio.UnaryUnaryCall:
    return users_pb2_grpc.UserServiceStub(channel).GetUser(_USER, metadata=[_AUTHORIZATION, *metadata], timeout=10)


def _watch(channel: grpc.aio.Channel) -> grpc.aio.UnaryStreamCall:
    stub = delivery_status_pb2_grpc.DeliveryStatusServiceStub(channel)
    return stub.WatchDeliveryStatus(
        delivery_status_pb2.WatchDeliveryStatusRequest(), metadata=[_AUTHORIZATION], timeout=10
    )


async def _fail() -> None:
    try:
        {}[_SECRET]
    except KeyError as error:
        raise ValueError(f"cannot use {_SECRET}") from error


async def test_an_unexpected_error_tells_the_request_id_and_nothing_else(serve: Serve, refusal: Refuse) -> None:
    channel = await serve(_Users(_fail))
    refused = await refusal(_get_user(channel, ("x-request-id", "req-1")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert refused.detail(RequestInfo).request_id == "req-1"
    assert "req-1" in refused.message
    assert _SECRET not in str(refused.status)
    assert "ValueError" not in str(refused.status)


async def test_an_unexpected_error_is_logged_once_with_its_place_but_not_its_text(
    serve: Serve, refusal: Refuse
) -> None:
    channel = await serve(_Users(_fail))
    with structlog.testing.capture_logs() as lines:
        await refusal(_get_user(channel, ("x-request-id", "req-1")))
    assert len(lines) == 1
    assert (lines[0]["log_level"], lines[0]["error"], lines[0]["request_id"]) == ("error", "ValueError", "req-1")
    assert "_fail" in lines[0]["traceback"]
    assert "KeyError" in lines[0]["traceback"]
    assert "s3cr3t" not in str(lines)


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129, "caf\u00e9"])
async def test_a_request_id_is_made_where_none_can_be_used(serve: Serve, refusal: Refuse, given: str | None) -> None:
    channel = await serve(_Users(_fail))
    metadata = [("x-request-id", given)] if given is not None and given.isascii() else []
    first = (await refusal(_get_user(channel, *metadata))).detail(RequestInfo).request_id
    second = (await refusal(_get_user(channel, *metadata))).detail(RequestInfo).request_id
    assert first != second
    assert len(first) == 32


async def test_unavailable_says_when_to_come_back(serve: Serve, refusal: Refuse) -> None:
    async def unavailable() -> None:
        raise Unavailable("the database can't be reached", retry_after=2.5)

    refused = await refusal(_get_user(await serve(_Users(unavailable))))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
    assert refused.detail(RetryInfo).retry_delay.ToMilliseconds() == 2500


async def test_a_method_that_is_not_written_is_unimplemented(serve: Serve, refusal: Refuse) -> None:
    stub = users_pb2_grpc.UserServiceStub(await serve(_Users(_fail)))
    refused = await refusal(stub.ListUsers(users_pb2.ListUsersRequest(), metadata=[_AUTHORIZATION]))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")


async def test_a_service_that_is_not_there_is_unimplemented(serve: Serve, refusal: Refuse) -> None:
    refused = await refusal(_watch(await serve(_Users(_fail))).read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")


async def test_a_call_is_one_log_line_without_metadata_or_body(serve: Serve) -> None:
    async def answer() -> users_pb2.GetUserResponse:
        return users_pb2.GetUserResponse(user=users_pb2.User(id=str(current_account())))

    channel = await serve(_Users(answer))
    with structlog.testing.capture_logs() as lines:
        response = await _get_user(channel, ("x-request-id", "req-1"), ("x-other", "other-value"))
    assert response.user.id == str(_ACCOUNT)
    assert len(lines) == 1
    assert lines[0].pop("ms") >= 0
    assert lines[0] == {
        "event": "call",
        "log_level": "info",
        "method": "/pharos.push.v1.UserService/GetUser",
        "code": "OK",
        "request_id": "req-1",
        "account": str(_ACCOUNT),
    }


async def test_many_wrong_fields_fit_into_one_answer(with_app: Caller, refusal: Refuse) -> None:
    bad = device_registrations_pb2.RegisterDeviceRequest(app_name="N" * 64, user_id="x" * 1000)
    request = device_registrations_pb2.BatchRegisterDevicesRequest(registrations=[bad] * 1000)
    refused = await refusal(with_app.registrations.BatchRegisterDevices(request))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert 10 < len(refused.fields) <= 50
    assert refused.fields["registrations[2].token"] == "is required"
    assert refused.status.ByteSize() < 7500


async def test_the_database_gone_is_unavailable(with_app: Caller, refusal: Refuse, database: Any) -> None:
    await database.close()
    refused = await refusal(with_app.app("default"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
    assert refused.detail(RetryInfo).retry_delay.ToMilliseconds() > 0


async def test_a_stream_ends_with_its_error(serve: Serve, refusal: Refuse) -> None:
    async def answer() -> AsyncIterator[Any]:
        yield delivery_status_pb2.WatchDeliveryStatusResponse()
        raise SlowReader("the reader is too slow")

    call = _watch(await serve(_Statuses(answer)))
    assert await call.read() == delivery_status_pb2.WatchDeliveryStatusResponse()
    refused = await refusal(call.read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_READER")


async def test_a_streams_handler_is_closed_by_its_own_call_when_the_reader_leaves(serve: Serve) -> None:
    tasks: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue()

    async def answer() -> AsyncIterator[Any]:
        tasks.put_nowait(asyncio.current_task())
        try:
            while True:
                yield delivery_status_pb2.WatchDeliveryStatusResponse(resume_token="x" * 100_000)
        finally:
            tasks.put_nowait(asyncio.current_task())

    call = _watch(await serve(_Statuses(answer)))
    await call.read()
    call.cancel()
    async with asyncio.timeout(5):
        assert await tasks.get() is await tasks.get()
