"""Composition root: the contract, mounted on one gRPC channel, as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.calls import Endpoint, EventEndpoint, UnaryEndpoint
from gateway.contract import Binding, Rpc, read_contract
from gateway.cors import Cors
from gateway.docs import docs_routes
from gateway.edge import Edge, base_url
from gateway.errors import ApiError
from gateway.routes import Routes
from gateway.settings import MIB, Settings

_MAX_MESSAGE = 32 * MIB
_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_metadata_size", 64 * 1024),  # error details travel in trailers
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # despite its name: how long one attempt may take
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),  # the service is next door, whatever the environment says
)


def open_channel(target: str) -> grpc.aio.Channel:
    """The one channel of a gateway; reconnects by itself. Needs a running event loop."""
    return grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)


class Gateway:
    """The ASGI application. `drain` ends its event streams, so that a server can stop."""

    def __init__(self, channel: grpc.aio.Channel, settings: Settings) -> None:
        self._draining = asyncio.Event()
        self._settings = settings
        self._health = health_pb2_grpc.HealthStub(channel)
        contract = read_contract()
        self._routes = _mount(contract, channel, settings, self._draining)
        self._cors = Cors(settings.cors_origins)
        self._app = Starlette(
            routes=[
                Route("/healthz", _alive),
                Route("/readyz", self._ready),
                *docs_routes(contract, settings.public_url),
            ],
            middleware=[Middleware(Edge, public_url=settings.public_url)],
            exception_handlers={HTTPException: self._http_error},
        )
        # Not mounted: a mount at / would also take the wrong methods of the routes above.
        self._app.router.default = self._api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def drain(self) -> None:
        """End every event stream; their clients resume elsewhere."""
        self._draining.set()

    async def _api(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = self._shared if self._cors else self._answer
        await (await answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> ASGIApp:
        try:
            endpoint, variables = self._routes.find(request.method, request.scope["raw_path"])
            return await endpoint(request, variables)
        except ApiError as error:
            return error.response(base_url(request.scope, self._settings.public_url))

    async def _shared(self, request: Request) -> ASGIApp:
        """The answer, which pages of other origins may read where the path is theirs to call."""
        endpoints = self._routes.methods(request.scope["raw_path"])
        open_to_pages = [
            method for method, endpoint in endpoints.items() if self._settings.cors_everywhere or endpoint.cross_origin
        ]
        if not open_to_pages:
            return await self._answer(request)
        answer = self._cors.preflight(request, open_to_pages) or await self._answer(request)
        return self._cors.share(request, answer)

    async def _ready(self, _: Request) -> Response:
        try:
            answer = await self._health.Check(health_pb2.HealthCheckRequest(), timeout=self._settings.readiness_timeout)
        except grpc.aio.AioRpcError:
            return _state("unreachable", HTTPStatus.SERVICE_UNAVAILABLE)
        if self._draining.is_set() or answer.status != health_pb2.HealthCheckResponse.SERVING:
            return _state("not serving", HTTPStatus.SERVICE_UNAVAILABLE)
        return _state("ok", HTTPStatus.OK)

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known = ApiError(HTTPStatus(error.status_code), headers=dict(error.headers or {}))
        return known.response(base_url(request.scope, self._settings.public_url))


def _mount(
    contract: Iterable[Rpc], channel: grpc.aio.Channel, settings: Settings, draining: asyncio.Event
) -> Routes[Endpoint]:
    routes: Routes[Endpoint] = Routes()
    for rpc in contract:
        for binding in rpc.bindings:
            routes.add(binding, _endpoint(rpc, binding, channel, settings, draining))
    return routes


def _endpoint(
    rpc: Rpc, binding: Binding, channel: grpc.aio.Channel, settings: Settings, draining: asyncio.Event
) -> Endpoint:
    if rpc.method.server_streaming:
        return EventEndpoint(rpc, binding, channel, settings, draining)
    return UnaryEndpoint(rpc, binding, channel, settings)


async def _alive(_: Request) -> Response:
    return _state("ok", HTTPStatus.OK)


def _state(state: str, status: HTTPStatus) -> Response:
    return JSONResponse({"status": state}, status)
