"""Endpoints: what happens between a REST request and its answer, for unary and for streaming RPCs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol

import grpc
import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gateway.auth import basic_authorization
from gateway.contract import Binding, Rpc
from gateway.edge import base_url
from gateway.encode import encoder
from gateway.errors import ApiError, from_rpc
from gateway.event_access import open_request
from gateway.events import EventEncoder, EventStream, Subscriber, split_event_id
from gateway.requests import RequestError, RequestReader, call_metadata
from gateway.schema import json_fields
from gateway.settings import Settings

_REPLAYED: Final = "idempotent-replayed"
_EVENT_ID: Final = "Last-Event-ID"
_ONLY_CHECK: Final = ("pharos-only-check", "true")  # refuse the request for the rules it breaks, or for none
_log = logging.getLogger(__name__)


class Endpoint(Protocol):
    """Answers the requests of one binding. Raises ApiError.

    `cross_origin`: pages of other origins may call it, where the gateway lets any.
    """

    cross_origin: bool

    async def __call__(self, request: Request, variables: Mapping[str, str]) -> ASGIApp: ...


class UnaryEndpoint:
    """One message in, one JSON document out."""

    def __init__(self, rpc: Rpc, binding: Binding, channel: grpc.aio.Channel, settings: Settings) -> None:
        self.cross_origin = rpc.rest.cross_origin
        self._rpc = rpc
        self._settings = settings
        self._reader = RequestReader(rpc.method.input_type, binding, settings)
        self._call = channel.unary_unary(rpc.path, *_codecs(rpc))
        self._answer = _Answer(rpc, binding.response_field)

    async def __call__(self, request: Request, variables: Mapping[str, str]) -> ASGIApp:
        authorization = basic_authorization(request.headers.get("authorization"))
        metadata = call_metadata(request, authorization)
        try:
            message = await self._reader.read(request, variables)
        except RequestError as error:
            raise await self._all_problems(error, metadata, request.state.request_id) from None
        call = self._call(message, metadata=metadata, timeout=self._settings.call_timeout)
        try:
            answer = await call
            replayed = (await call.trailing_metadata()).get(_REPLAYED) == "true"
        except grpc.aio.AioRpcError as error:
            raise explain(error, self._rpc, request.state.request_id) from None
        return self._answer.response(answer, base_url(request.scope, self._settings.public_url), replayed=replayed)

    async def _all_problems(
        self, error: RequestError, metadata: tuple[tuple[str, str], ...], request_id: str
    ) -> ApiError:
        """A malformed body's problems together with the rules that its sound part breaks."""
        try:
            await self._call(error.sound, metadata=(*metadata, _ONLY_CHECK), timeout=self._settings.call_timeout)
        except grpc.aio.AioRpcError as refused:
            seen = explain(refused, self._rpc, request_id)
            if seen.status is HTTPStatus.UNAUTHORIZED:
                return seen
            if seen.status is HTTPStatus.BAD_REQUEST:
                return error.malformed.joined(problem for problem in seen.problems if problem.context is not None)
        return error.malformed


class _Answer:
    """Response messages of one binding as HTTP responses."""

    def __init__(self, rpc: Rpc, field: FieldDescriptor | None) -> None:
        self._field = field.name if field is not None else ""
        self._encode = encoder(field.message_type if field is not None else rpc.method.output_type)
        self._status = rpc.rest.success_status or HTTPStatus.OK
        self._location_field = rpc.rest.location_field

    def response(self, message: Message, base_url: str, *, replayed: bool) -> Response:
        document = self._encode(getattr(message, self._field) if self._field else message, base_url)
        status, headers = self._status, {}
        if self._location_field:
            location = getattr(message, self._location_field)
            if location:
                headers["Location"] = base_url + location
            else:
                status = HTTPStatus.OK  # a dry run makes nothing
        if replayed:
            headers["Idempotent-Replayed"] = "true"
        return Response(msgspec.json.encode(document), status, headers, media_type="application/json")


class EventEndpoint:
    """One message in, server-sent events out."""

    cross_origin = True

    def __init__(
        self, rpc: Rpc, binding: Binding, channel: grpc.aio.Channel, settings: Settings, draining: asyncio.Event
    ) -> None:
        self._rpc = rpc
        self._settings = settings
        self._draining = draining
        self._reader = RequestReader(rpc.method.input_type, binding, settings)
        self._call = channel.unary_stream(rpc.path, *_codecs(rpc))
        self._events = EventEncoder(rpc.method.output_type, rpc.rest.event_id_field)
        self._event_id = _event_id_field(rpc.method.input_type)

    async def __call__(self, request: Request, variables: Mapping[str, str]) -> ASGIApp:
        request, authorization = open_request(request)
        metadata = call_metadata(request, authorization)
        try:
            message = await self._reader.read(request, variables)
        except RequestError as error:
            raise error.malformed from None
        finished = self._read_event_id(message)
        return EventStream(
            self._call(message, metadata=metadata),
            self._events,
            lambda error: explain(error, self._rpc, request.state.request_id),
            subscriber=Subscriber(finished, _is_event_source(request)),
            base_url=base_url(request.scope, self._settings.public_url),
            settings=self._settings,
            draining=self._draining,
        )

    def _read_event_id(self, message: Message) -> bool:
        """Leave in the request the token of the event's id. Return whether the event was the last."""
        if self._event_id is None:
            return False
        token, finished = split_event_id(getattr(message, self._event_id))
        setattr(message, self._event_id, token)
        return finished


def _event_id_field(request: Descriptor) -> str | None:
    found = [field.proto.name for field in json_fields(request) if field.options.header == _EVENT_ID]
    return found[0] if found else None


def _is_event_source(request: Request) -> bool:
    """Whether it says so: an EventSource has to, and curl does not unless it is told to."""
    return "text/event-stream" in request.headers.get("accept", "").lower()


def _codecs(rpc: Rpc) -> tuple[Any, Any]:
    request, answer = GetMessageClass(rpc.method.input_type), GetMessageClass(rpc.method.output_type)
    return request.SerializeToString, answer.FromString


def explain(error: grpc.aio.AioRpcError, rpc: Rpc, request_id: str) -> ApiError:
    """The error as REST callers see it; what is not their doing is logged, by its code alone."""
    seen = from_rpc(error, rpc.method.input_type, request_id)
    if seen.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("call failed", extra={"rpc": rpc.path, "code": error.code().name, "request_id": request_id})
    return seen
