"""Google access tokens for a service account: one at a time, renewed before it ends.

https://developers.google.com/identity/protocols/oauth2/service-account#httprest and RFC 7523.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from server.domain.outcomes import CredentialRefused, NotSent, Throttled
from server.providers import codes, retry_after
from server.providers.credentials.secret import ServiceAccount
from server.providers.transport import Response

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"

_ASSERTION_SECONDS = 3600
_EARLY_SECONDS = 300.0
_TRUSTED_SECONDS = 60.0  # a token this young that is refused is not the token's fault
_LARGEST_ANSWER = 64 * 1024
_PLAIN = {"accept-encoding": "identity"}  # a small answer, whose size is what comes over the wire
_FAILURE_SECONDS = 5.0  # how long one failure answers for all, so that a queue of pushes asks once


class AccessTokenError(Exception):
    """No access token; ``outcome`` is what that means for a push."""

    def __init__(self, outcome: CredentialRefused | Throttled | NotSent) -> None:
        super().__init__(outcome.code)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    issued_at: float
    renew_at: float
    expires_at: float


class _Grant(msgspec.Struct):
    access_token: str
    expires_in: float


class _Refusal(msgspec.Struct):
    error: str = ""


_grant_decoder = msgspec.json.Decoder(_Grant)
_refusal_decoder = msgspec.json.Decoder(_Refusal)


class AccessTokens:
    """The access token of one service account.

    ``url`` is both where to ask and the audience of the assertion. ``clock`` gives Unix time.
    """

    def __init__(
        self,
        account: ServiceAccount,
        client: httpx.AsyncClient,
        url: str,
        timeout: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises ValueError when the account's key can't be read."""
        key = load_pem_private_key(account.private_key.encode(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("the key of a service account is an RSA key")  # noqa: TRY004  # a bad value, not a type
        self._key = key
        self._account = account
        self._client = client
        self._url = url
        self._timeout = timeout
        self._clock = clock
        self._token: _Token | None = None
        self._failure: AccessTokenError | None = None
        self._failed_until = 0.0
        self._renewal: asyncio.Task[None] | None = None

    def held(self) -> str | None:
        """The token at hand, if it is valid. Near its end it is renewed beside the use of it."""
        token, now = self._token, self._clock()
        if token is None or now >= token.expires_at:
            return None
        if now >= token.renew_at and now >= self._failed_until:
            self._renew()
        return token.value

    async def current(self) -> str:
        """A valid token, asked for when there is none. Raises AccessTokenError."""
        return self.held() or await self._renewed()

    async def replacement(self, refused: str) -> str | None:
        """Another token than the ``refused`` one; None when it was so fresh that a new one would not help.

        Raises AccessTokenError.
        """
        token = self._token
        if token is None or token.value != refused:
            return await self.current()
        if self._clock() - token.issued_at < _TRUSTED_SECONDS:
            return None
        return await self._renewed()

    async def aclose(self) -> None:
        """Let a renewal end, which takes no longer than the timeout: pushes may be waiting for it."""
        if self._renewal is not None:
            await asyncio.wait([self._renewal])

    async def _renewed(self) -> str:
        if self._failure is None or self._clock() >= self._failed_until:
            # Shielded: one caller that gives up must not take the answer from the others.
            await asyncio.shield(self._renew())
        if self._failure is not None or self._token is None:
            raise AccessTokenError(NotSent("OAUTH_UNAVAILABLE") if self._failure is None else self._failure.outcome)
        return self._token.value

    def _renew(self) -> asyncio.Task[None]:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._ask(), name="fcm access token")
        return self._renewal

    async def _ask(self) -> None:
        try:
            self._token = await self._grant()
            self._failure = None
        except AccessTokenError as error:
            self._failure = error
            self._failed_until = self._clock() + _FAILURE_SECONDS

    async def _grant(self) -> _Token:
        now = self._clock()
        form = {"grant_type": GRANT_TYPE, "assertion": self._assertion(int(now))}
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._post(form)
        except (httpx.HTTPError, OSError):
            raise AccessTokenError(NotSent("OAUTH_UNREACHABLE")) from None
        if response.status != HTTPStatus.OK:
            raise AccessTokenError(_refusal(response, now))
        try:
            grant = _grant_decoder.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise AccessTokenError(NotSent("OAUTH_MALFORMED")) from None
        early = min(_EARLY_SECONDS, grant.expires_in / 2)
        return _Token(grant.access_token, now, now + grant.expires_in - early, now + grant.expires_in)

    async def _post(self, form: dict[str, str]) -> Response:
        async with self._client.stream("POST", self._url, data=form, headers=_PLAIN) as response:
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    raise AccessTokenError(NotSent("OAUTH_MALFORMED"))
            return Response(response.status_code, response.headers, body)

    def _assertion(self, now: int) -> str:
        claims = {
            "iss": self._account.client_email,
            "scope": SCOPE,
            "aud": self._url,
            "iat": now,
            "exp": now + _ASSERTION_SECONDS,
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": self._account.private_key_id})


def _refusal(response: Response, now: float) -> CredentialRefused | Throttled | NotSent:
    status = response.status
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Throttled(f"OAUTH_HTTP_{status}", retry_after.seconds(response.headers.get("retry-after"), now))
    try:
        error = _refusal_decoder.decode(response.body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = ""
    # Without OAuth's own error (RFC 6749, 5.2), something in between answered.
    return CredentialRefused(codes.safe(error, status)) if error else NotSent(f"OAUTH_HTTP_{status}")
