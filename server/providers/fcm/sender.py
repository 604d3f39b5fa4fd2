"""Sends pushes to FCM with one service account."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote

from server.domain.outcomes import CredentialRefused, NotSent, Outcome, Rejected, Throttled, Unknown
from server.domain.projects import Project
from server.domain.pushes import Push
from server.providers.fcm import answers, message
from server.providers.fcm.oauth import AccessTokenError, AccessTokens
from server.providers.transport import (
    NotSentError,
    Request,
    Response,
    SharedHeaders,
    Transport,
    UnknownOutcomeError,
)

T = TypeVar("T")


class FcmSender:
    """One Firebase project. ``timeout`` is in seconds, for one push with its retry; ``quota`` in pushes a second."""

    def __init__(
        self,
        transport: Transport,
        project_id: str,
        tokens: AccessTokens,
        timeout: float,
        clock: Callable[[], float] = time.time,
        quota: float | None = None,
    ) -> None:
        self.project = Project(f"fcm/{project_id}", quota)
        self._transport = transport
        self._path = f"/v1/projects/{quote(project_id, safe=':')}/messages:send"
        self._tokens = tokens
        self._timeout = timeout
        self._clock = clock
        self._token = ""
        self._shared = SharedHeaders(())

    async def send(self, push: Push) -> Outcome:
        body = message.body(push, push.at.timestamp() if push.at else self._clock())
        if isinstance(body, Rejected):
            return body
        try:
            response = await self._exchange(body)
        except AccessTokenError as error:
            return _uncalled(error.outcome)
        except NotSentError as error:
            return NotSent(error.code)
        except UnknownOutcomeError as error:
            return Unknown(error.code)
        return answers.outcome(response, self._clock())

    async def aclose(self) -> None:
        await self._tokens.aclose()
        await self._transport.aclose()

    async def _exchange(self, body: bytes) -> Response:
        deadline = asyncio.get_running_loop().time() + self._timeout
        token = self._tokens.held()
        if token is None:
            token = await _by(deadline, self._tokens.current())
        response = await self._transport.post(self._request(token, body), deadline)
        if answers.refuses_access_token(response):
            replacement = await _by(deadline, self._tokens.replacement(token))
            if replacement is not None:
                return await self._transport.post(self._request(replacement, body), deadline)
        return response

    def _request(self, token: str, body: bytes) -> Request:
        """With the same shared headers for as long as the token lasts: a transport can keep their encoded form."""
        if token != self._token:
            self._token = token
            self._shared = SharedHeaders((("authorization", f"Bearer {token}"), ("content-type", "application/json")))
        return Request(self._path, self._shared, (), body)


async def _by(deadline: float, token: Awaitable[T]) -> T:
    """Waiting for a token is part of the push's time. Raises ``NotSentError`` when that is over."""
    try:
        async with asyncio.timeout_at(deadline):
            return await token
    except TimeoutError:
        raise NotSentError("ACCESS_TOKEN_TIMEOUT") from None


def _uncalled(outcome: Outcome) -> Outcome:
    """FCM itself was not asked: it does not count as an attempt."""
    return replace(outcome, called=False) if isinstance(outcome, CredentialRefused | Throttled) else outcome
