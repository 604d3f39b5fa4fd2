"""The senders of the credentials in use: made when first needed, replaced with their credential, closed when idle."""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from typing import Protocol
from uuid import UUID

import httpx
import msgspec

from server.domain.credentials import CredentialType, SealedCredential
from server.domain.outcomes import CredentialRefused, Outcome
from server.domain.projects import Project
from server.domain.pushes import Push
from server.providers import tls
from server.providers.apns.sender import ApnsSender
from server.providers.apns.token import ProviderTokens
from server.providers.credentials.secret import ApnsCertificate, ApnsKey, Secret, ServiceAccount, unpack
from server.providers.endpoints import Endpoints
from server.providers.fcm.oauth import AccessTokens
from server.providers.fcm.sender import FcmSender
from server.providers.http2.pool import Http2Transport
from server.providers.sealing import SealBroken, Sealer
from server.providers.transport import Connect, Origin

# FCM ends connections with more than 100 streams ("exceeded_max_concurrent_streams"), and takes several of them.
_FCM_STREAMS, _FCM_CONNECTIONS = 100, 10
# Apple announces about 1000 streams, once a token has proved itself; it frowns on many connections.
_APNS_IDLE = 3600.0  # "keep your connection open", and don't open and close them all the time
_APNS_STREAMS, _APNS_CONNECTIONS = 1000, 3


class Sender(Protocol):
    """Sends with one credential, whose pushes count for ``project``; None: for nothing but the credential."""

    @property
    def project(self) -> Project | None: ...

    async def send(self, push: Push) -> Outcome:
        """Whatever the provider and the network do, the answer is an outcome, not an exception."""

    async def aclose(self) -> None:
        """Let the sends in flight end, each by its own deadline, then close. Later ones come to NotSent."""


class RefusingSender:
    """Stands in for a credential that can't be used at all: its work is kept, as for one that a provider refuses."""

    project = None

    def __init__(self, code: str) -> None:
        self._outcome = CredentialRefused(code, called=False)

    async def send(self, push: Push) -> Outcome:  # noqa: ARG002  # the answer is the same for all
        return self._outcome

    async def aclose(self) -> None:
        pass


class Senders:
    """At most ``capacity`` senders, the least recently used given up first."""

    def __init__(
        self, endpoints: Endpoints, sealer: Sealer, connect: Connect = Http2Transport, capacity: int = 512
    ) -> None:
        self._endpoints = endpoints
        self._sealer = sealer
        self._connect = connect
        self._capacity = capacity
        self._senders: OrderedDict[UUID, tuple[int, Sender]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._provider_tokens = ProviderTokens()
        # Shared, and never with another HTTP version: httpcore writes its ALPN offer into the context.
        self._tls = tls.trusting(endpoints.ca_file)
        self._oauth = httpx.AsyncClient(verify=tls.trusting(endpoints.ca_file), trust_env=False)

    def get(self, credential: SealedCredential) -> Sender:
        """The sender of ``credential``, or of its successor when a newer version was asked for before."""
        known = self._senders.get(credential.credential_id)
        if known is not None and known[0] >= credential.version:
            self._senders.move_to_end(credential.credential_id)
            return known[1]
        self.retire(credential.credential_id)
        sender = self._sender(credential)
        self._senders[credential.credential_id] = (credential.version, sender)
        if len(self._senders) > self._capacity:
            self.retire(next(iter(self._senders)))
        return sender

    def retire(self, credential_id: UUID) -> None:
        """Forget a sender; it closes once its sends in flight have ended."""
        known = self._senders.pop(credential_id, None)
        if known is not None:
            task = asyncio.create_task(known[1].aclose(), name="close sender")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all senders. Takes as long as the longest send in flight, at most the request timeout."""
        for credential_id in list(self._senders):
            self.retire(credential_id)
        await asyncio.gather(*self._closing)
        await self._oauth.aclose()

    def _sender(self, credential: SealedCredential) -> Sender:
        try:
            secret = unpack(self._sealer.open(credential.sealed, credential.seal_context))
            return self._sender_of(secret, credential.credential_type)
        except SealBroken:
            return RefusingSender("SEAL_BROKEN")
        except (msgspec.DecodeError, ssl.SSLError, ValueError):
            return RefusingSender("CREDENTIAL_UNUSABLE")

    def _sender_of(self, secret: Secret, credential_type: CredentialType) -> Sender:
        if isinstance(secret, ServiceAccount):
            return self._fcm(secret)
        sandbox = credential_type is CredentialType.APN_SANDBOX
        url = self._endpoints.apns_sandbox_url if sandbox else self._endpoints.apns_url
        return self._apns(secret, url)

    def _fcm(self, account: ServiceAccount) -> FcmSender:
        endpoints = self._endpoints
        tokens = AccessTokens(account, self._oauth, endpoints.oauth_url, endpoints.request_timeout)
        transport = self._connect(Origin(endpoints.fcm_url, _FCM_STREAMS, _FCM_CONNECTIONS), self._tls)
        return FcmSender(transport, account.project_id, tokens, endpoints.request_timeout, quota=endpoints.fcm_quota)

    def _apns(self, secret: ApnsKey | ApnsCertificate, url: str) -> ApnsSender:
        timeout = self._endpoints.request_timeout
        by_token = isinstance(secret, ApnsKey)
        origin = Origin(url, _APNS_STREAMS, _APNS_CONNECTIONS, proof=by_token, idle=_APNS_IDLE)
        if isinstance(secret, ApnsKey):
            return ApnsSender(self._connect(origin, self._tls), secret.topic, self._provider_tokens.of(secret), timeout)
        context = tls.identified(self._endpoints.ca_file, secret.certificate, secret.private_key)
        return ApnsSender(self._connect(origin, context), secret.topic, None, timeout)
