"""What became of posts, and what has to be true of it whatever the server did."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from server.providers.transport import (
    NotSentError,
    Request,
    Response,
    SharedHeaders,
    Transport,
    TransportError,
    UnknownOutcomeError,
)
from tests.contract.http2_exchange import content_of

LATER = 6.0
SOON = 1.0
SLACK = 2.0  # two busy cores; a post without a deadline would wait for ever
SHARED = SharedHeaders((("authorization", "bearer s3cret"), ("content-type", "application/json")))
BODY = b'{"aps":{"alert":"Hello"}}'


@dataclass(frozen=True)
class Fate:
    """Of one post: `result` is the answer or why there is none."""

    path: str
    result: Response | TransportError

    @property
    def code(self) -> str:
        """The error's, or the status."""
        return str(self.result.status) if isinstance(self.result, Response) else self.result.code


class Tally(NamedTuple):
    answered: int = 0
    not_sent: int = 0
    unknown: int = 0


def paths(count: int, prefix: str = "/3/device/") -> list[str]:
    return [f"{prefix}{number:06}" for number in range(count)]


async def post(
    transport: Transport,
    path: str = "/3/device/f00d",
    seconds: float = LATER,
    body: bytes = BODY,
    shared: SharedHeaders = SHARED,
) -> Fate:
    """One post that has to end in an answer or in one of the seam's errors; all others go through."""
    request = Request(path, shared, (("apns-id", path),), body)
    try:
        return Fate(path, await transport.post(request, asyncio.get_running_loop().time() + seconds))
    except (NotSentError, UnknownOutcomeError) as error:
        return Fate(path, error)


async def post_all(
    transport: Transport, targets: Iterable[str], seconds: float = LATER, body: bytes = BODY
) -> list[Fate]:
    """All of them at once. Fails when one is not over by its deadline."""
    return await ended([asyncio.ensure_future(post(transport, path, seconds, body)) for path in targets], seconds)


async def ended(posts: Sequence[asyncio.Future[Fate]], seconds: float = LATER) -> list[Fate]:
    """Their fates. Fails when one is not over so many seconds from now."""
    _, hanging = await asyncio.wait(posts, timeout=seconds + SLACK)
    for left in hanging:
        left.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    if hanging:
        pytest.fail(f"{len(hanging)} of {len(posts)} posts hang past their deadline")
    return [done.result() for done in posts]


def tally(fates: Iterable[Fate]) -> Tally:
    """Every fate counts once."""
    results = [fate.result for fate in fates]
    answered = sum(isinstance(result, Response) for result in results)
    not_sent = sum(isinstance(result, NotSentError) for result in results)
    return Tally(answered, not_sent, len(results) - answered - not_sent)


def audit(fates: Sequence[Fate], processed: Mapping[str, int]) -> Tally:
    """The ledger against the fates: what is "not sent" never was processed, and nothing was processed twice."""
    wrong = [fate.path for fate in fates if isinstance(fate.result, NotSentError) and processed.get(fate.path)]
    assert not wrong, f"processed, and called not sent: {wrong}"
    repeated = {path: count for path, count in processed.items() if count > 1}
    assert not repeated, f"processed more than once: {repeated}"
    invented = [fate.path for fate in fates if isinstance(fate.result, Response) and not processed.get(fate.path)]
    assert not invented, f"answered without being processed: {invented}"
    return tally(fates)


def assert_answers_match(fates: Iterable[Fate], *, whole: bool = True) -> None:
    """Each answer is to the request that it was given for; not `whole`: its body may be cut off with its connection."""
    for fate in fates:
        if isinstance(fate.result, Response):
            body = fate.result.body
            assert content_of(fate.path).startswith(body), fate.path
            assert body or not whole, f"{fate.path} has only its status"
