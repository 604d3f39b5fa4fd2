"""A stream of an RPC as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final

import grpc
import msgspec
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.encode import encoder
from gateway.errors import ApiError
from gateway.settings import Settings

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_HEARTBEAT: Final = b":\n\n"
_LAST: Final = "end"  # the case behind which nothing follows
_SEEN_END: Final = ".end"  # no token has a dot
# What passes. An EventSource gives up on any answer but a 200.
_PASSING: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who asks for a stream.

    `finished`: it had the last event already. `is_event_source`: it comes back by itself, but only after a 200.
    """

    finished: bool = False
    is_event_source: bool = False


def split_event_id(event_id: str) -> tuple[str, bool]:
    """The token of an event's id, and whether the event was the last one.

    The last event has an id of its own: its token can be that of the event before it.
    """
    token = event_id.removesuffix(_SEEN_END)
    return token, token != event_id


class EventEncoder:
    """Messages of one type as events: the set case of the oneof is the event, its id a field."""

    def __init__(self, message: Descriptor, id_field: str) -> None:
        [self._oneof] = message.oneofs
        self._id_field = id_field
        self._encoders = {case.name: encoder(case.message_type) for case in self._oneof.fields}

    def encode(self, message: Message, base_url: str) -> bytes:
        """One event. A message of a case that this gateway doesn't know is a comment."""
        case = message.WhichOneof(self._oneof.name)
        if case is None:
            return _HEARTBEAT
        data = msgspec.json.encode(self._encoders[case](getattr(message, case), base_url))
        token = getattr(message, self._id_field)
        return event(case, data, token + _SEEN_END if token and case == _LAST else token)

    def is_last(self, message: Message) -> bool:
        return bool(message.WhichOneof(self._oneof.name) == _LAST)


def event(name: str, data: bytes, event_id: str = "") -> bytes:
    """One event as it is sent. The line breaks that JSON may have between its tokens are kept by more `data` lines."""
    lines = [f"event: {name}".encode()]
    if event_id:
        lines.append(f"id: {event_id}".encode())
    lines.extend(b"data: " + line for line in data.splitlines())
    return b"\n".join(lines) + b"\n\n"


class _Silence(Enum):
    IDLE = auto()
    END = auto()
    DRAINING = auto()


class _Messages:
    """Reads a call's messages and notices when there are none for a while, or when the gateway stops."""

    def __init__(self, call: Any, idle: float, draining: asyncio.Event) -> None:
        self._call = call
        self._idle = idle
        self._draining = asyncio.create_task(draining.wait())
        self._reading: asyncio.Task[Any] | None = None

    async def next(self) -> Message | _Silence:
        """Raises grpc.aio.AioRpcError when the call has failed."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._call.read())
        waited = {self._reading, self._draining}
        done, _ = await asyncio.wait(waited, timeout=self._idle, return_when=asyncio.FIRST_COMPLETED)
        if self._reading in done:
            message = self._reading.result()
            self._reading = None
            return _Silence.END if message is grpc.aio.EOF else message
        return _Silence.DRAINING if done else _Silence.IDLE

    async def close(self) -> None:
        """Cancel the call, and wait until nothing of it runs."""
        self._call.cancel()
        tasks = [task for task in (self._draining, self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class EventStream:
    """The answer to one request. Ends with the call, with the client, or when the gateway stops.

    An error before anything was written is an ordinary error response, a later one an `error` event. So is one that
    passes, to an EventSource. Who had the last event already gets a 204, after which an EventSource stays away.
    """

    def __init__(
        self,
        call: Any,
        events: EventEncoder,
        explain: Callable[[grpc.aio.AioRpcError], ApiError],
        *,
        subscriber: Subscriber,
        base_url: str,
        settings: Settings,
        draining: asyncio.Event,
    ) -> None:
        self._subscriber = subscriber
        self._call = call
        self._events = events
        self._explain = explain
        self._base_url = base_url
        self._settings = settings
        self._draining = draining
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages = _Messages(self._call, self._settings.heartbeat, self._draining)
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send_all(messages, scope, receive, send))
                leaving = tasks.create_task(_wait_for_disconnect(receive))
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
                sending.cancel()
                leaving.cancel()
        finally:
            await messages.close()

    async def _send_all(self, messages: _Messages, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(TimeoutError):  # the client takes nothing any more; returning ends the connection
            try:
                while await self._send_one(await messages.next(), send):
                    pass
            except grpc.aio.AioRpcError as error:
                await self._send_error(self._explain(error), scope, receive, send)
            except ApiError as error:
                await self._send_error(error, scope, receive, send)
            else:
                await self._finish(scope, receive, send)

    async def _send_one(self, message: Message | _Silence, send: Send) -> bool:
        if message is _Silence.DRAINING and not self._started:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE)
        if message is _Silence.END or message is _Silence.DRAINING:
            return False
        if self._subscriber.finished and isinstance(message, Message) and self._events.is_last(message):
            return False
        frame = _HEARTBEAT if isinstance(message, _Silence) else self._events.encode(message, self._base_url)
        await self._write(send, frame)
        return True

    async def _finish(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._subscriber.finished and not self._started:
            await Response(status_code=HTTPStatus.NO_CONTENT)(scope, receive, send)
        else:
            await self._write(send, b"", more=False)

    async def _send_error(self, error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
        if self._started or (self._subscriber.is_event_source and error.status in _PASSING):
            later = _come_back(error.retry_after, 1.0) if error.retry_after > self._settings.reconnect else b""
            await self._write(send, later + event("error", error.body(self._base_url)), more=False)
        else:
            await error.response(self._base_url)(scope, receive, send)

    async def _write(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(self._settings.write_timeout):
            if not self._started:
                self._started = True
                await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": _HEADERS})
                body = _come_back(self._settings.reconnect, 0.5) + body
            await send({"type": "http.response.body", "body": body, "more_body": more})


def _come_back(seconds: float, least: float) -> bytes:
    """When to reconnect: `least` to 1.5 times the seconds. A stop of the gateway ends all streams at once."""
    return b"retry: %d\n\n" % (seconds * random.uniform(least, 1.5) * 1000)  # noqa: S311 - guards nothing


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
