from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import jwt
import pytest

from server.domain.outcomes import CredentialRefused, NotSent, Outcome, Throttled
from server.providers.credentials.secret import ServiceAccount
from server.providers.fcm.oauth import AccessTokenError, AccessTokens

URL = "https://oauth.test/token"
START = 1_800_000_000.0

Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Authority:
    """Google's token endpoint: hands out t1, t2, ..., or what `answer` says."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.answer: Answer = self.grant

    async def grant(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"access_token": f"t{len(self.requests)}", "expires_in": 3599})

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await self.answer(request)

    def answers(self, response: httpx.Response) -> None:
        async def answer(_: httpx.Request) -> httpx.Response:
            return response

        self.answer = answer


class Clock:
    now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def google() -> Authority:
    return Authority()


@pytest.fixture
async def tokens(google: Authority, clock: Clock, samples: Any) -> AsyncIterator[AccessTokens]:
    account = ServiceAccount("demo", "push@demo.iam", "key-1", samples.pem_of(samples.rsa_key()))
    async with httpx.AsyncClient(transport=httpx.MockTransport(google)) as client:
        tokens = AccessTokens(account, client, URL, timeout=5.0, clock=clock)
        yield tokens
        await tokens.aclose()


async def refused(tokens: AccessTokens) -> Outcome:
    with pytest.raises(AccessTokenError) as caught:
        await tokens.current()
    return caught.value.outcome


async def test_grant_is_asked_for_as_google_documents_it(tokens: AccessTokens, google: Authority, samples: Any) -> None:
    assert await tokens.current() == "t1"
    [request] = google.requests
    assert (request.method, str(request.url)) == ("POST", URL)
    form = parse_qs(request.content.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    [assertion] = form["assertion"]
    assert jwt.get_unverified_header(assertion) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
    no_times: Any = {"verify_exp": False, "verify_iat": False}
    public_key = samples.rsa_key().public_key()
    claims = jwt.decode(assertion, public_key, algorithms=["RS256"], audience=URL, options=no_times)
    assert claims == {
        "iss": "push@demo.iam",
        "scope": "https://www.googleapis.com/auth/firebase.messaging",
        "aud": URL,
        "iat": START,
        "exp": START + 3600,
    }


async def test_token_is_kept(tokens: AccessTokens, google: Authority, clock: Clock) -> None:
    assert await tokens.current() == await tokens.current()
    clock.now += 3000
    assert await tokens.current() == "t1"
    assert len(google.requests) == 1


async def test_many_callers_ask_once(tokens: AccessTokens, google: Authority) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tokens.current()) for _ in range(100)]
    assert {task.result() for task in tasks} == {"t1"}
    assert len(google.requests) == 1


async def test_caller_that_gives_up_does_not_take_the_token_from_others(
    tokens: AccessTokens, google: Authority
) -> None:
    asked, allowed = asyncio.Event(), asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        asked.set()
        await allowed.wait()
        return await google.grant(request)

    google.answer = slow
    first = asyncio.create_task(tokens.current())
    second = asyncio.create_task(tokens.current())
    await asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    allowed.set()
    assert await second == "t1"
    assert len(google.requests) == 1


async def test_token_is_renewed_early_while_the_old_one_is_used(
    tokens: AccessTokens, google: Authority, clock: Clock
) -> None:
    await tokens.current()
    clock.now += 3599 - 301
    assert await tokens.current() == "t1"
    assert len(google.requests) == 1
    clock.now += 2
    assert await tokens.current() == "t1"
    await tokens.aclose()  # waits for the renewal
    assert await tokens.current() == "t2"
    assert len(google.requests) == 2


async def test_failed_early_renewal_does_no_harm_while_the_token_lasts(
    tokens: AccessTokens, google: Authority, clock: Clock
) -> None:
    await tokens.current()
    google.answers(httpx.Response(503))
    clock.now += 3400
    assert await tokens.current() == "t1"
    await tokens.aclose()  # waits for the renewal
    assert len(google.requests) == 2
    assert await tokens.current() == "t1"
    clock.now += 199
    assert await refused(tokens) == Throttled("OAUTH_HTTP_503")


async def test_ended_token_is_not_used(tokens: AccessTokens, clock: Clock) -> None:
    await tokens.current()
    clock.now += 3599
    assert await tokens.current() == "t2"


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (httpx.Response(400, json={"error": "invalid_grant"}), CredentialRefused("invalid_grant")),
        (httpx.Response(401, json={"error": "invalid_client"}), CredentialRefused("invalid_client")),
        (httpx.Response(400, json={"error": "no <code> at all"}), CredentialRefused("HTTP_400")),
        (httpx.Response(403, text="<html>"), NotSent("OAUTH_HTTP_403")),
        (httpx.Response(302), NotSent("OAUTH_HTTP_302")),
        (httpx.Response(429, headers={"retry-after": "9"}), Throttled("OAUTH_HTTP_429", 9.0)),
        (httpx.Response(500), Throttled("OAUTH_HTTP_500")),
        (httpx.Response(200, text="<html>"), NotSent("OAUTH_MALFORMED")),
        (httpx.Response(200, json={"access_token": 1, "expires_in": 2}), NotSent("OAUTH_MALFORMED")),
    ],
)
async def test_no_token(tokens: AccessTokens, google: Authority, response: httpx.Response, outcome: Outcome) -> None:
    google.answers(response)
    assert await refused(tokens) == outcome


@pytest.mark.parametrize("error", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), TimeoutError(), OSError()])
async def test_unreachable(tokens: AccessTokens, google: Authority, error: Exception) -> None:
    async def fail(_: httpx.Request) -> httpx.Response:
        raise error

    google.answer = fail
    assert await refused(tokens) == NotSent("OAUTH_UNREACHABLE")


async def test_endless_answer_is_not_read_to_its_end(tokens: AccessTokens, google: Authority) -> None:
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield bytes(32 * 1024)

    google.answers(httpx.Response(200, content=chunks()))
    assert await refused(tokens) == NotSent("OAUTH_MALFORMED")
    assert read <= 4


async def test_silent_endpoint_has_a_deadline(google: Authority, clock: Clock, samples: Any) -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    google.answer = never
    account = ServiceAccount("demo", "push@demo.iam", "key-1", samples.pem_of(samples.rsa_key()))
    async with httpx.AsyncClient(transport=httpx.MockTransport(google)) as client:
        tokens = AccessTokens(account, client, URL, timeout=0.05, clock=clock)
        assert await refused(tokens) == NotSent("OAUTH_UNREACHABLE")


async def test_one_failure_answers_for_all_for_a_moment(tokens: AccessTokens, google: Authority, clock: Clock) -> None:
    google.answers(httpx.Response(400, json={"error": "invalid_grant"}))
    for _ in range(10):
        await refused(tokens)
    assert len(google.requests) == 1
    clock.now += 5
    google.answer = google.grant
    assert await tokens.current() == "t2"


async def test_refused_token_is_replaced_once(tokens: AccessTokens, google: Authority, clock: Clock) -> None:
    first = await tokens.current()
    clock.now += 120
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tokens.replacement(first)) for _ in range(20)]
    assert {task.result() for task in tasks} == {"t2"}
    assert len(google.requests) == 2


async def test_fresh_token_that_is_refused_is_not_replaced(tokens: AccessTokens, google: Authority) -> None:
    assert await tokens.replacement(await tokens.current()) is None
    assert len(google.requests) == 1


async def test_closing_lets_a_renewal_end(tokens: AccessTokens, google: Authority) -> None:
    asked, allowed = asyncio.Event(), asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        asked.set()
        await allowed.wait()
        return await google.grant(request)

    google.answer = slow
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(tokens.current())
        await asked.wait()
        closing = group.create_task(tokens.aclose())
        allowed.set()
        await closing
    assert waiting.result() == "t1"
