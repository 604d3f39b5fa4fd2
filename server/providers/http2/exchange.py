"""One request from the call to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

from server.providers.transport import NotSentError, Request, Response, TransportError, UnknownOutcomeError

LARGEST_ANSWER = 65_535  # bytes; also the peer's window for an answer, which is never widened


class Exchange:
    """A request, and what is known of its answer. ``deadline`` is in seconds of the event loop's clock."""

    __slots__ = ("body", "deadline", "future", "headers", "request", "sent_again", "status", "unsent", "window")

    def __init__(self, request: Request, deadline: float, future: asyncio.Future[Response]) -> None:
        self.request = request
        self.deadline = deadline
        self.future = future
        self.sent_again = 0  # times that a peer said that it did not process it
        self.unsent = request.body  # the part of the body that flow control holds back, while it has a stream
        self.window = 0  # what the peer takes of the body on the stream
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.body = b""

    def begin(self, window: int) -> None:
        """Begin anew on a stream."""
        self.unsent = self.request.body
        self.window = window
        self.status, self.headers, self.body = 0, {}, b""

    def is_over(self, now: float) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.deadline <= now or self.future.done()

    def answer(self) -> None:
        """Give the answer as far as it came."""
        if not self.future.done():
            self.future.set_result(Response(self.status, self.headers, self.body))

    def break_off(self, code: str) -> None:
        """The rest of the answer will not come.

        A success stands: a push that the provider took must not be sent again for the rest of the answer.
        """
        if HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES:
            self.answer()
        else:
            self.fail(UnknownOutcomeError(code))

    def fail(self, error: TransportError) -> None:
        """Tell the caller that there is no answer."""
        if not self.future.done():
            self.future.set_exception(error)

    def not_sent(self, code: str) -> None:
        """Tell the caller that the peer certainly did not process the request."""
        self.fail(NotSentError(code))
