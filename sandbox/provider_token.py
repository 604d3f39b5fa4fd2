"""APNs' provider authentication tokens: ES256 JWTs that name a key and a team, good for an hour."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import NamedTuple

import jwt

from sandbox.identity import APNS_KEY_ID, APNS_TEAM_ID, Identity

LIFETIME_SECONDS = 3600
REFRESH_SECONDS = 20 * 60  # a token may be replaced no sooner, says Apple's "Establishing a token-based connection"
_SKEW_SECONDS = 60
_CACHED = 256


class TokenRejected(Exception):
    """``reason`` is the one APNs answers with."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class ProviderToken(NamedTuple):
    """A token whose signature, key and team are right. ``issued_at`` in epoch seconds."""

    text: bytes
    issued_at: int


class ProviderTokens:
    """Verifies tokens, remembering those found good; one for all connections."""

    def __init__(self, identity: Identity) -> None:
        self._key = identity.provider_key
        self._good: OrderedDict[bytes, ProviderToken] = OrderedDict()

    def verify(self, authorization: bytes | None) -> ProviderToken:
        """The token of an ``authorization: bearer`` field. Raises TokenRejected."""
        if authorization is None:
            raise TokenRejected(403, "MissingProviderToken")
        token = self._good.get(authorization)
        if token is None:
            token = self._verify_signature(authorization)
            self._remember(authorization, token)
        if time.time() - token.issued_at > LIFETIME_SECONDS:
            raise TokenRejected(403, "ExpiredProviderToken")
        return token

    def _remember(self, authorization: bytes, token: ProviderToken) -> None:
        self._good[authorization] = token
        if len(self._good) > _CACHED:
            self._good.popitem(last=False)

    def _verify_signature(self, authorization: bytes) -> ProviderToken:
        scheme, _, text = authorization.partition(b" ")
        try:
            if scheme != b"bearer" or jwt.get_unverified_header(text).get("kid") != APNS_KEY_ID:
                raise TokenRejected(403, "InvalidProviderToken")
            claims = jwt.decode(
                text,
                self._key,
                algorithms=["ES256"],
                options={"verify_iat": False, "verify_exp": False, "verify_aud": False, "verify_nbf": False},
            )
        except (jwt.InvalidTokenError, ValueError):
            raise TokenRejected(403, "InvalidProviderToken") from None
        issued_at = claims.get("iat")
        if claims.get("iss") != APNS_TEAM_ID or not isinstance(issued_at, int):
            raise TokenRejected(403, "InvalidProviderToken")
        if issued_at > time.time() + _SKEW_SECONDS:
            raise TokenRejected(403, "InvalidProviderToken")
        return ProviderToken(text, issued_at)


class ConnectionTokens:
    """What one connection has seen: its current token, and whether it became unusable."""

    def __init__(self, tokens: ProviderTokens) -> None:
        self._tokens = tokens
        self._current: ProviderToken | None = None
        self._wedged = False

    def check(self, authorization: bytes | None) -> bool:
        """True for the connection's first good token. Raises TokenRejected.

        After an expired token the connection answers nothing else (seen by pushy), and a token that replaces one
        less than 20 minutes older is churn.
        """
        if self._wedged:
            raise TokenRejected(403, "ExpiredProviderToken")
        try:
            token = self._tokens.verify(authorization)
        except TokenRejected as rejected:
            self._wedged = rejected.reason == "ExpiredProviderToken"
            raise
        first, current = self._current is None, self._current
        if current is not None and token.text != current.text and token.issued_at < current.issued_at + REFRESH_SECONDS:
            raise TokenRejected(429, "TooManyProviderTokenUpdates")
        self._current = token
        return first
