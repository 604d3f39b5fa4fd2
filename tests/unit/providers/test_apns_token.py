from __future__ import annotations

import itertools
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from server.providers.apns.token import ProviderToken, ProviderTokens
from server.providers.credentials.secret import ApnsKey

START = 1_800_000_000 - 1_800_000_000 % 2400
MINUTE = 60


class Clock:
    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def key(samples: Any) -> ApnsKey:
    return ApnsKey("DEF123GHIJ", "ABC123DEFG", "com.example.app", samples.pem_of(samples.p256))


def claims_of(token: str, samples: Any) -> Any:
    options: Any = {"verify_iat": False}
    return jwt.decode(token, samples.p256.public_key(), algorithms=["ES256"], options=options)


def test_token_is_what_apple_asks_for(key: ApnsKey, clock: Clock, samples: Any) -> None:
    token = ProviderToken(key, clock).current()
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "typ": "JWT", "kid": "ABC123DEFG"}
    assert claims_of(token, samples) == {"iss": "DEF123GHIJ", "iat": START}


def test_token_is_never_older_than_an_hour_nor_younger_than_20_minutes(
    key: ApnsKey, clock: Clock, samples: Any
) -> None:
    token = ProviderToken(key, clock)
    changes, last = [], ""
    for minute in range(600):
        clock.now = START + minute * MINUTE
        if token.current() != last:
            last = token.current()
            changes.append(minute)
        assert clock.now - claims_of(last, samples)["iat"] < 60 * MINUTE
    assert all(later - earlier >= 20 for earlier, later in itertools.pairwise(changes))


def test_every_process_makes_the_same_token(key: ApnsKey, clock: Clock) -> None:
    first = ProviderToken(key, clock).current()
    clock.now += 39 * MINUTE
    assert ProviderToken(key, clock).current() == first
    clock.now += 1 * MINUTE
    assert ProviderToken(key, clock).current() != first


def test_refused_token_is_renewed_once(key: ApnsKey, clock: Clock, samples: Any) -> None:
    clock.now += 25 * MINUTE
    token = ProviderToken(key, clock)
    refused = token.current()
    assert token.replace(refused)
    assert claims_of(token.current(), samples)["iat"] == clock.now
    renewed = token.current()
    clock.now += 14 * MINUTE
    assert token.replace(refused)  # by the one that is there
    assert (token.current(), token.refusals) == (renewed, 1)


def test_young_token_is_not_renewed(key: ApnsKey, clock: Clock) -> None:
    clock.now += 19 * MINUTE
    token = ProviderToken(key, clock)
    refused = token.current()
    assert not token.replace(refused)
    assert token.current() == refused


def test_renewed_token_outlives_the_next_window_until_it_is_20_minutes_old(key: ApnsKey, clock: Clock) -> None:
    clock.now += 39 * MINUTE
    token = ProviderToken(key, clock)
    token.replace(token.current())
    renewed = token.current()
    clock.now += 19 * MINUTE
    assert token.current() == renewed
    clock.now += 1 * MINUTE
    assert token.current() != renewed


def test_credentials_with_the_same_key_share_the_token(key: ApnsKey, clock: Clock) -> None:
    tokens = ProviderTokens(clock=clock)
    other_topic = ApnsKey(key.team_id, key.key_id, "com.example.other", key.private_key)
    assert tokens.of(key) is tokens.of(other_topic)


def test_forged_ids_do_not_get_into_anothers_token(key: ApnsKey, clock: Clock, samples: Any) -> None:
    tokens = ProviderTokens(clock=clock)
    other_key = samples.pem_of(ec.generate_private_key(ec.SECP256R1()))
    tokens.of(ApnsKey(key.team_id, key.key_id, key.topic, other_key)).current()
    assert claims_of(tokens.of(key).current(), samples)["iss"] == "DEF123GHIJ"


def test_key_of_another_kind_is_refused(key: ApnsKey, clock: Clock, samples: Any) -> None:
    rsa_key = samples.pem_of(samples.rsa_key())
    with pytest.raises(ValueError, match="EC key"):
        ProviderToken(ApnsKey(key.team_id, key.key_id, key.topic, rsa_key), clock)


def test_tokens_kept_are_bounded(samples: Any, clock: Clock) -> None:
    tokens = ProviderTokens(capacity=2, clock=clock)
    keys = [ApnsKey("DEF123GHIJ", f"KEY{n}", "t", samples.pem_of(samples.p256)) for n in range(3)]
    kept = [tokens.of(key) for key in keys]
    assert tokens.of(keys[2]) is kept[2]
    assert tokens.of(keys[0]) is not kept[0]
