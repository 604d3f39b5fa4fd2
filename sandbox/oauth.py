"""Google's OAuth 2.0 token endpoint for service accounts (RFC 7523), and the access tokens it issued."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Any
from urllib.parse import parse_qs

import jwt
import msgspec

from sandbox.identity import Identity
from sandbox.ledger import Provider
from sandbox.rules import Rules
from sandbox.wire import Answer, Reply, Request

TOKEN_SECONDS = 3599
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES = frozenset(
    ["https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"]
)
# google-auth always signs for this audience, whatever the token_uri of its service account (its service_account.py).
GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"
_MAX_ASSERTION_SECONDS = 3600
_SKEW_SECONDS = 60
_TIMEFRAME = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)
_HEADERS = (
    (b"content-type", b"application/json; charset=utf-8"),
    (b"cache-control", b"no-cache, no-store, max-age=0, must-revalidate"),
    (b"vary", b"Origin, X-Origin, Referer"),
)


class GrantError(Exception):
    """A grant that Google would refuse; ``code`` is RFC 6749's."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class AccessTokens:
    """The access tokens issued. They are signed with ``secret``, so that they hold beyond the sandbox's own end."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._expiry: dict[bytes, float] = {}
        self._revoked_until = 0.0

    def issue(self) -> str:
        text = f"ya29.c.{time.time():.6f}.{secrets.token_urlsafe(90)}"
        return f"{text}.{self._signature(text.encode())}"

    def valid(self, token: bytes) -> bool:
        expiry = self._expiry.get(token)
        if expiry is None:
            expiry = self._expiry_of(token)
            if expiry > time.time():
                self._expiry[token] = expiry
        return expiry > time.time()

    def revoke_all(self) -> None:
        """As when the service account's key is deleted: every token issued so far is refused."""
        self._expiry.clear()
        self._revoked_until = time.time()

    def _expiry_of(self, token: bytes) -> float:
        """0 for what was never issued, or is revoked."""
        text, _, signature = token.rpartition(b".")
        if not hmac.compare_digest(signature, self._signature(text).encode()):
            return 0.0
        issued_at = float(b".".join(text.split(b".")[2:4]))
        return issued_at + TOKEN_SECONDS if issued_at > self._revoked_until else 0.0

    def _signature(self, text: bytes) -> str:
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()


class TokenEndpoint:
    """POST /token. ``url`` is its public address, which a grant's audience must be."""

    def __init__(self, identity: Identity, tokens: AccessTokens, rules: Rules) -> None:
        self._identity = identity
        self._tokens = tokens
        self._rules = rules
        self.url = ""

    def answer(self, request: Request) -> Answer:
        """Issues an access token, or answers as RFC 6749 section 5.2."""
        if not self._rules.active:
            return self._reply(request)
        rule = self._rules.find(Provider.FCM, "token")
        if rule is None:
            return self._reply(request)
        return rule.scripted(self._reply(request) if rule.needs_verdict else None)

    def _reply(self, request: Request) -> Reply:
        if request.method != b"POST":
            return _error(405, "invalid_request", "Method Not Allowed")
        try:
            self._check(request)
        except GrantError as error:
            return _error(400, error.code, error.description)
        answer = {"access_token": self._tokens.issue(), "expires_in": TOKEN_SECONDS, "token_type": "Bearer"}
        return Reply(200, _HEADERS, msgspec.json.encode(answer))

    def _check(self, request: Request) -> None:
        content_type = request.headers.get(b"content-type", b"").partition(b";")[0].strip()
        if content_type != b"application/x-www-form-urlencoded":
            raise GrantError("invalid_request", "Bad Request")
        form = parse_qs(request.body.decode("latin-1"))
        grant_type = form.get("grant_type", [""])[0]
        if grant_type != GRANT_TYPE:
            raise GrantError("unsupported_grant_type", f"Invalid grant_type: {grant_type}")
        self._check_assertion(form.get("assertion", [""])[0])

    def _check_assertion(self, assertion: str) -> None:
        account = self._identity.service_account
        claims = self._verified(assertion)
        if claims.get("iss") != account["client_email"]:
            raise GrantError("invalid_grant", "Invalid grant: account not found")
        if claims.get("aud") not in (self.url, GOOGLE_AUDIENCE):
            raise GrantError("invalid_grant", "Invalid JWT: Failed audience check. The right audience is " + self.url)
        _check_times(claims)
        scopes = str(claims.get("scope", "")).split()
        if not SCOPES.intersection(scopes):
            raise GrantError("invalid_scope", "Invalid OAuth scope or ID token audience provided.")

    def _verified(self, assertion: str) -> dict[str, Any]:
        """The claims, their signature checked; what they mean is checked by the caller."""
        try:
            key_id = jwt.get_unverified_header(assertion).get("kid")
            claims: dict[str, Any] = jwt.decode(
                assertion,
                self._identity.service_key,
                algorithms=["RS256"],
                options={"verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidSignatureError:
            raise GrantError("invalid_grant", "Invalid JWT Signature.") from None
        except (jwt.InvalidTokenError, ValueError):
            raise GrantError("invalid_request", "Bad Request") from None
        if key_id is not None and key_id != self._identity.service_account["private_key_id"]:
            raise GrantError("invalid_grant", "Invalid JWT Signature.")
        return claims


def _check_times(claims: dict[str, Any]) -> None:
    """At most an hour from iat to exp, and now between them, give or take a minute."""
    issued, expires, now = claims.get("iat"), claims.get("exp"), time.time()
    if not isinstance(issued, int) or not isinstance(expires, int):
        raise GrantError("invalid_grant", _TIMEFRAME)
    too_long = expires - issued > _MAX_ASSERTION_SECONDS
    if too_long or issued > now + _SKEW_SECONDS or expires < now - _SKEW_SECONDS:
        raise GrantError("invalid_grant", _TIMEFRAME)


def _error(status: int, code: str, description: str) -> Reply:
    return Reply(status, _HEADERS, msgspec.json.encode({"error": code, "error_description": description}))
