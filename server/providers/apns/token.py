"""Apple's provider authentication tokens: one per key, however many connections and processes use it."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm
from jwt.api_jws import PyJWS
from jwt.utils import der_to_raw_signature

from server.providers.credentials.secret import ApnsKey

WINDOW = 40 * 60
YOUNGEST_TO_RENEW = 20 * 60


class _DeterministicES256(ECAlgorithm):
    def sign(self, msg: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
        signature = key.sign(msg, ec.ECDSA(SHA256(), deterministic_signing=True))
        return der_to_raw_signature(signature, key.curve)


_jws = PyJWS()
_jws.unregister_algorithm("ES256")
_jws.register_algorithm("ES256", _DeterministicES256(SHA256))


class ProviderToken:
    """The current token of one key of one team.

    Apple refuses tokens over an hour old, and answers 429 to ones renewed more often than every 20 minutes
    (https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).
    So the issue time is the start of a 40-minute window and the signature deterministic (RFC 6979): every process,
    also one that just restarted, makes the very same token.
    """

    def __init__(self, key: ApnsKey, clock: Callable[[], float] = time.time) -> None:
        """Raises ValueError when the key can't be read. ``clock`` gives Unix time."""
        loaded = load_pem_private_key(key.private_key.encode(), password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError("the key of a .p8 file is an EC key")  # noqa: TRY004  # a bad value, not a type
        self._key = loaded
        self._team_id = key.team_id
        self._key_id = key.key_id
        self._clock = clock
        self._issued_at = 0
        self._value = ""
        self.refusals = 0  # of tokens that were replaced for it

    def current(self) -> str:
        now = int(self._clock())
        window = now - now % WINDOW
        if not self._value or (window > self._issued_at and now - self._issued_at >= YOUNGEST_TO_RENEW):
            self._issue(window)
        return self._value

    def replace(self, refused: str) -> bool:
        """Replace the token that Apple called expired, which means that the clocks disagree.

        Return whether there is another one now; there is none where the refused one is under 20 minutes old.
        """
        now = int(self._clock())
        if refused == self._value and now - self._issued_at >= YOUNGEST_TO_RENEW:
            self.refusals += 1
            self._issue(now)
        return refused != self._value

    def _issue(self, issued_at: int) -> None:
        claims = msgspec.json.encode({"iss": self._team_id, "iat": issued_at})
        self._value = _jws.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})
        self._issued_at = issued_at


class ProviderTokens:
    """The tokens of all keys in use, shared by the credentials that hold the same key."""

    def __init__(self, capacity: int = 1024, clock: Callable[[], float] = time.time) -> None:
        self._tokens: OrderedDict[tuple[str, str, bytes], ProviderToken] = OrderedDict()
        self._capacity = capacity
        self._clock = clock

    def of(self, key: ApnsKey) -> ProviderToken:
        """The token of ``key``. Raises ValueError as ProviderToken does.

        The key itself is compared too: an upload that claims another account's ids must not get into its token.
        """
        identity = (key.team_id, key.key_id, hashlib.sha256(key.private_key.encode()).digest())
        token = self._tokens.get(identity)
        if token is None:
            token = self._tokens[identity] = ProviderToken(key, self._clock)
        self._tokens.move_to_end(identity)
        if len(self._tokens) > self._capacity:
            self._tokens.popitem(last=False)
        return token
