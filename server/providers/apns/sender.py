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
    CertificateRefusedError,
    NotSentError,
    Response,
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

    async def send(self, push: Push) -> Outcome:
        request = message.request(push, self._topic)
        if isinstance(request, Rejected):
            return request
        try:
            response = await self._exchange(request)
        except CertificateRefusedError as error:
            return CredentialRefused(error.code)
        except NotSentError as error:
            return NotSent(error.code)
        except UnknownOutcomeError as error:
            return Unknown(error.code)
        return answers.outcome(response, self._clock())

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _exchange(self, request: message.Request) -> Response:
        deadline = asyncio.get_running_loop().time() + self._timeout
        if self._token is None:
            return await self._transport.post(request.path, request.headers, request.body, deadline)
        used, response = await self._authorized(self._token, request, deadline)
        if not _is_expired(response):
            return response
        if self._token.renew(used):
            self._transport.renew()  # Apple takes no other token on a connection that has seen an expired one
        if self._token.current() != used:
            _, response = await self._authorized(self._token, request, deadline)
        return response

    async def _authorized(
        self, token: ProviderToken, request: message.Request, deadline: float
    ) -> tuple[str, Response]:
        value = token.current()
        headers = {"authorization": "bearer " + value, **request.headers}
        return value, await self._transport.post(request.path, headers, request.body, deadline)


def _is_expired(response: Response) -> bool:
    return response.status == HTTPStatus.FORBIDDEN and answers.reason(response) == answers.EXPIRED_TOKEN
