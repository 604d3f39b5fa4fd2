"""Sends pushes to APNs with one credential."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from server.domain.outcomes import Accepted, CredentialRefused, NotSent, Outcome, Rejected, Unknown
from server.domain.pushes import Push
from server.providers.apns import answers, message
from server.providers.apns.token import ProviderToken
from server.providers.transport import (
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
        self._shared_token = ""
        self._kinds: dict[tuple[Header, ...], SharedHeaders] = {}

    async def send(self, push: Push) -> Outcome:
        request = message.request(push)
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
        if response.status == HTTPStatus.OK:  # which echoes our id
            return Accepted(str(push.push_id))
        return answers.outcome(response, self._clock())

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _exchange(self, request: message.Request) -> Response:
        deadline = asyncio.get_running_loop().time() + self._timeout
        if self._token is None:
            return await self._post(request, "", deadline)
        used = self._token.current()
        response = await self._post(request, used, deadline)
        if not _is_expired(response):
            return response
        if self._token.renew(used):
            self._transport.renew()  # Apple takes no other token on a connection that has seen an expired one
        renewed = self._token.current()
        return response if renewed == used else await self._post(request, renewed, deadline)

    def _post(self, request: message.Request, token: str, deadline: float) -> Awaitable[Response]:
        shared = self._shared(request.kind, token)
        return self._transport.post(Request(request.path, shared, request.own, request.body), deadline)

    def _shared(self, kind: tuple[Header, ...], token: str) -> SharedHeaders:
        """The same object for all pushes of a kind, for as long as the token lasts."""
        if token != self._shared_token:
            self._shared_token = token
            self._kinds.clear()
        shared = self._kinds.get(kind)
        if shared is None:
            authorization = (("authorization", "bearer " + token),) if token else ()
            shared = self._kinds[kind] = SharedHeaders((*authorization, ("apns-topic", self._topic), *kind))
        return shared


def _is_expired(response: Response) -> bool:
    return response.status == HTTPStatus.FORBIDDEN and answers.reason(response) == answers.EXPIRED_TOKEN
