"""Unary calls: with the account's credentials, a deadline, and a second try where that is safe."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol, TypeVar

import grpc
from google.protobuf.message import Message
from pharos.push.v1.types_pb2 import Pagination

from client.backoff import Backoff
from client.errors import PushError

Metadata = tuple[tuple[str, str], ...]


class PagedRequest(Protocol):
    """A request whose answer comes in pages."""

    page_token: str


class Page(Protocol):
    """An answer that says where the list goes on."""

    @property
    def pagination(self) -> Pagination: ...


Request = TypeVar("Request")
Response = TypeVar("Response")
ListRequest = TypeVar("ListRequest", bound=PagedRequest)
ListResponse = TypeVar("ListResponse", bound=Page)
Item = TypeVar("Item")
AnyMessage = TypeVar("AnyMessage", bound=Message)


def basic_auth(account_id: str, auth_token: str) -> Metadata:
    """Call metadata with HTTP's Basic scheme (RFC 7617)."""
    pair = base64.b64encode(f"{account_id}:{auth_token}".encode()).decode("ascii")
    return (("authorization", f"Basic {pair}"),)


def bearer_auth(stream_token: str) -> Metadata:
    """Call metadata of who has a stream token, which opens status streams and nothing else."""
    return (("authorization", f"Bearer {stream_token}"),)


def copied(request: AnyMessage) -> AnyMessage:
    """A copy to change, so that the caller's message stays as it is."""
    copy = type(request)()
    copy.CopyFrom(request)
    return copy


class Caller:
    """Carries out unary calls within `timeout` seconds each, repetitions included. Raises PushError."""

    def __init__(self, metadata: Metadata, timeout: float) -> None:
        self._metadata = metadata
        self._timeout = timeout

    async def once(self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request) -> Response:
        """One try. For calls that would do harm, or mislead, when the service carries them out twice."""
        return await self._call(method, request, within=self._timeout)

    async def safely(self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request) -> Response:
        """Tries again while the service is unavailable. Only for calls that may be carried out twice."""
        deadline = time.monotonic() + self._timeout
        backoff = Backoff()
        while True:
            try:
                return await self._call(method, request, within=deadline - time.monotonic())
            except PushError as error:
                wait = backoff.take(error.retry_after)
                if error.code is not grpc.StatusCode.UNAVAILABLE or time.monotonic() + wait >= deadline:
                    raise
            await asyncio.sleep(wait)

    async def items(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[ListRequest, ListResponse],
        request: ListRequest,
        items_of: Callable[[ListResponse], Iterable[Item]],
    ) -> AsyncIterator[Item]:
        """Every item of a list; a page is fetched when the one before it is used up. Changes `request`."""
        while True:
            page = await self.safely(method, request)
            for item in items_of(page):
                yield item
            if not page.pagination.next:
                return
            request.page_token = page.pagination.next

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request, *, within: float
    ) -> Response:
        try:
            return await method(request, metadata=self._metadata, timeout=within)
        except grpc.aio.AioRpcError as error:
            raise PushError.from_call(error) from error
