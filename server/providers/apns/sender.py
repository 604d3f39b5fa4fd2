"""Sends pushes to APNs with one credential."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus

from server.domain.outcomes import CredentialRefused, NotSent, Outcome, Rejected, Unknown
from server.domain.pushes import Push
from server.providers.apns import answers, message
from server.providers.apns.token import ProviderToken
from server.providers.transport import (
    RENEWED,
    CertificateRefusedError,
    Header,
    NotSentError,
    Request,
    Response,
    SharedHeaders,
    Transport,
    UnknownOutcomeError,
)


class ApnsSender:
    """One app in one environment. ``token`` is None when the transport's TLS certificate identifies us.

    The transport is this sender's own: Apple allows one team per connection.
    """

    project = None  # Apple names no quota

    def __init__(
        self,
        transport: Transport,
        topic: str,
        token: ProviderToken | None,
        timeout: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._topic = topic
        self._token = token
        self._timeout = timeout
        self._clock = clock
        self._shared: dict[tuple[str, str], SharedHeaders] = {}  # by push type and priority, with _shared_token
        self._shared_token: str | None = None
        self._refusals = token.refusals if token else 0  # for which the connections are fresh

    async def send(self, push: Push) -> Outcome:
        composed = message.compose(push)
        if isinstance(composed, Rejected):
            return composed
        try:
            response = await self._exchange(composed)
        except CertificateRefusedError as error:
            return CredentialRefused(error.code)
        except NotSentError as error:
            return NotSent(error.code)
        except UnknownOutcomeError as error:
            return Unknown(error.code)
        return answers.outcome(response, composed.push_id, self._clock())

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _exchange(self, composed: message.Message) -> Response:
        deadline = asyncio.get_running_loop().time() + self._timeout
        if self._token is None:
            return await self._transport.post(self._request(composed, None), deadline)
        used = self._current(self._token)
        try:
            response = await self._transport.post(self._request(composed, used), deadline)
        except NotSentError as error:
            if error.code != RENEWED:
                raise
        else:
            if not _is_expired(response) or not self._token.replace(used):
                return response
        return await self._transport.post(self._request(composed, self._current(self._token)), deadline)

    def _current(self, token: ProviderToken) -> str:
        """The token to send with, on connections that never carried a refused one: Apple takes no other on those.

        Each sender of a key sees to its own, whichever of them it was whose push was refused.
        """
        if token.refusals != self._refusals:
            self._refusals = token.refusals
            self._transport.renew()
        return token.current()

    def _request(self, composed: message.Message, token: str | None) -> Request:
        shared = self._shared_headers(token, composed.push_type, composed.priority)
        return Request(composed.path, shared, composed.own, composed.body)

    def _shared_headers(self, token: str | None, push_type: str, priority: str) -> SharedHeaders:
        """The same object for as long as the token lasts, so that a transport can keep its encoded form."""
        if token != self._shared_token:
            self._shared_token = token
            self._shared = {}
        shared = self._shared.get((push_type, priority))
        if shared is None:
            shared = SharedHeaders(self._shared_fields(token, push_type, priority))
            self._shared[push_type, priority] = shared
        return shared

    def _shared_fields(self, token: str | None, push_type: str, priority: str) -> tuple[Header, ...]:
        fields = (("apns-topic", self._topic), ("apns-push-type", push_type), ("apns-priority", priority))
        return fields if token is None else (("authorization", "bearer " + token), *fields)


def _is_expired(response: Response) -> bool:
    return response.status == HTTPStatus.FORBIDDEN and answers.reason(response) == answers.EXPIRED_TOKEN
