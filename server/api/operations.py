"""OperationService: sends as a whole."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

import grpc
from pharos.push.v1 import operations_pb2 as pb
from pharos.push.v1 import operations_pb2_grpc

from server.api import filters, pages
from server.api.calls import current_account
from server.api.convert import BASE_PATH, id_in_path
from server.api.notification_messages import error_message
from server.api.operation_messages import operation_message
from server.api.requests import request_key, result_of
from server.domain import ids
from server.domain.errors import NotFound
from server.domain.ids import Kind
from server.domain.notifications import NEWEST, DeliveryError
from server.domain.operations import Operation, OperationFilter
from server.domain.requests import Done, RequestKey

Context = grpc.aio.ServicerContext[Any, Any]


class Operations(Protocol):
    """Where operations are kept."""

    async def get(self, account: UUID, operation_id: UUID) -> Operation | None: ...
    async def page(
        self, account: UUID, begin: UUID, limit: int, wanted: OperationFilter
    ) -> tuple[list[Operation], UUID | None]: ...


class Errors(Protocol):
    """Where recipients are read back."""

    async def errors(self, account: UUID, operation_id: UUID, first: int, limit: int) -> list[DeliveryError]: ...


class Cancellations(Protocol):
    """Where operations are canceled."""

    async def cancel(self, account: UUID, operation_id: UUID, key: RequestKey | None = None) -> Done[UUID]: ...


class Announcer(Protocol):
    """Tells watchers. Hints: they may get lost."""

    def announce_feed(self, account_id: UUID) -> None: ...


class OperationServicer(operations_pb2_grpc.OperationServiceServicer):
    def __init__(
        self, operations: Operations, errors: Errors, cancellations: Cancellations, announcer: Announcer
    ) -> None:
        self._operations = operations
        self._errors = errors
        self._cancellations = cancellations
        self._announcer = announcer

    async def GetOperation(self, request: pb.GetOperationRequest, context: Context) -> pb.GetOperationResponse:
        operation = await self._get(id_in_path(Kind.OPERATION, request.operation_id))
        return pb.GetOperationResponse(operation=operation_message(operation))

    async def ListOperations(self, request: pb.ListOperationsRequest, context: Context) -> pb.ListOperationsResponse:
        wanted = filters.operation_filter(request)
        token = pages.Token.of(request)
        begin = _begin(token.decode(request.page_token))
        limit = request.page_size or pages.DEFAULT_SIZE
        found, following = await self._operations.page(current_account(), begin, limit, wanted)
        return pb.ListOperationsResponse(
            operations=map(operation_message, found),
            pagination=token.pagination(request.page_token, None if following is None else (following.hex,)),
        )

    async def ListOperationErrors(
        self, request: pb.ListOperationErrorsRequest, context: Context
    ) -> pb.ListOperationErrorsResponse:
        operation = await self._get(id_in_path(Kind.OPERATION, request.operation_id))
        token = pages.Token.of(request)
        key = token.decode(request.page_token)
        limit = request.page_size or pages.DEFAULT_SIZE
        found = await self._errors.errors(
            current_account(), operation.operation_id, pages.index(*pages.fields(key, 1)) if key else 0, limit + 1
        )
        following = (str(found[limit].index),) if len(found) > limit else None
        return pb.ListOperationErrorsResponse(
            errors=[error_message(error) for error in found[:limit]],
            pagination=token.pagination(request.page_token, following),
        )

    async def CancelOperation(self, request: pb.CancelOperationRequest, context: Context) -> pb.CancelOperationResponse:
        account = current_account()
        wanted = id_in_path(Kind.OPERATION, request.operation_id)
        done = await self._cancellations.cancel(account, wanted, request_key(request))
        self._announcer.announce_feed(account)
        name = ids.encode(Kind.OPERATION, result_of(done, context))
        return pb.CancelOperationResponse(operation_id=name, operation_location=f"{BASE_PATH}/Operations/{name}")

    async def _get(self, operation_id: UUID) -> Operation:
        operation = await self._operations.get(current_account(), operation_id)
        if operation is None:
            raise NotFound("there is no such operation")
        return operation


def _begin(key: tuple[str, ...] | None) -> UUID:
    if key is None:
        return NEWEST
    (operation,) = pages.fields(key, 1)
    try:
        return UUID(hex=operation)
    except ValueError as error:
        raise pages.refused() from error
