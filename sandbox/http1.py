"""HTTP/1.1 for those who speak it: Google's Python client towards FCM and OAuth, and whoever uses the control port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http.client import responses
from typing import cast

import h11

from sandbox.wire import Answer, Fault, Limits, Reply, Request, Scripted, Vendor

_MAX_HEAD = 65_536


class Http1Connection(asyncio.Protocol):
    """One HTTP/1.1 connection with keep-alive; one request at a time. Faults without a counterpart close it."""

    def __init__(self, vendor: Vendor, certificate_uid: str | None, on_lost: Callable[[Http1Connection], None]) -> None:
        self._limits: Limits = vendor.limits
        self._vendor = vendor
        self._certificate_uid = certificate_uid
        self._on_lost = on_lost
        self._transport: asyncio.Transport
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = False  # for a late answer, or for ever

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._watch_idle()
        scripted = self._vendor.on_connect()
        if scripted is not None:
            self._waiting = True
            if scripted.fault is not Fault.STALL:
                self.cut()
        self._session = self._vendor.session(self, self._certificate_uid)

    def data_received(self, data: bytes) -> None:
        self._watch_idle()
        try:
            self._http.receive_data(data)
            self._advance()
        except h11.RemoteProtocolError:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._timer is not None:
            self._timer.cancel()
        self._on_lost(self)

    def allow_streams(self, limit: int) -> None:
        """HTTP/1.1 has no streams; nothing to announce."""

    def shut_down(self) -> None:
        self._transport.close()

    def cut(self) -> None:
        self._transport.abort()

    def _watch_idle(self) -> None:
        if self._timer is not None and not self._waiting:
            self._timer.cancel()
        if not self._waiting:
            self._timer = asyncio.get_running_loop().call_later(self._limits.idle, self.shut_down)

    def _advance(self) -> None:
        """Takes events until more bytes are needed or an answer is due later."""
        while not self._waiting and not self._transport.is_closing():
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._request = event
                self._expect_continue()
            elif isinstance(event, h11.Data):
                self._body += event.data[: self._limits.max_body + 1 - len(self._body)]
            elif isinstance(event, h11.EndOfMessage):
                self._answer()
            elif event is h11.PAUSED or event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return

    def _expect_continue(self) -> None:
        if self._http.they_are_waiting_for_100_continue:
            self._send(h11.InformationalResponse(status_code=100, headers=[]))

    def _answer(self) -> None:
        request = self._request
        if request is None:
            return
        pairs = list(request.headers)
        headers = dict(pairs)
        names = [name for name, _ in pairs]
        repeated = frozenset(name for name in names if names.count(name) > 1)
        answer = self._session.answer(Request(request.method, request.target, headers, repeated, bytes(self._body)))
        self._body.clear()
        self._play(answer)

    def _play(self, answer: Answer) -> None:
        if isinstance(answer, Scripted):
            self._play_scripted(answer)
        else:
            self._reply(answer)

    def _play_scripted(self, scripted: Scripted) -> None:
        drained = scripted.fault is Fault.GOAWAY and scripted.goaway.drain
        if scripted.reply is not None and (scripted.fault is None or drained):
            if scripted.delay > 0:
                self._reply_late(scripted.delay, scripted.reply)
            else:
                self._reply(scripted.reply)
        elif scripted.fault is Fault.STALL:
            self._waiting = True
        else:
            self.cut()

    def _reply_late(self, delay: float, reply: Reply) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._waiting = True
        self._timer = asyncio.get_running_loop().call_later(delay, self._after_delay, reply)

    def _after_delay(self, reply: Reply) -> None:
        self._waiting = False
        self._watch_idle()
        self._reply(reply)
        self._advance()

    def _reply(self, reply: Reply) -> None:
        headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
        reason = responses.get(reply.status, "")
        self._send(h11.Response(status_code=reply.status, headers=headers, reason=reason.encode()))
        if self._request is not None and self._request.method != b"HEAD":
            self._send(h11.Data(data=reply.body))
        self._send(h11.EndOfMessage())
        self._request = None
        if self._http.our_state is h11.MUST_CLOSE:
            self._transport.close()
        else:
            self._http.start_next_cycle()

    def _send(self, event: h11.Event) -> None:
        self._transport.write(self._http.send(event) or b"")
