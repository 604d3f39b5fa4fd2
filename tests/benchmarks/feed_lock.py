"""Figure (h): what it costs that an account's commits take their turns at its feed's row.

Sends to one recipient each are the worst case: every result is a commit, and has one row to lock. Eight workers
deliver as many of one account as of eight accounts, where each has a row of its own.
"""

from __future__ import annotations

import asyncio
import statistics

from pharos.push.v1.push_notifications_pb2 import Content, SendPushNotificationRequest
from pharos.push.v1.types_pb2 import PROVIDER_APN, Recipient

from client.push_client import PushClient
from tests.benchmarks import messages, stack
from tests.benchmarks.figure import Figure, Sizes, Table, say
from tests.benchmarks.judging import MismatchError

KEYS = ("feed_lock",)
_WORKERS = 8
_ROUNDS = 3
_AT_ONCE = 32  # calls
_WITHIN = 300.0


async def measure(sizes: Sizes) -> Figure:
    """The two take turns; each run has a stack of its own, as all is queued before a worker starts."""
    rounds = min(sizes.rounds, _ROUNDS)
    together: list[float] = []
    apart: list[float] = []
    for number in range(rounds):
        say(f"feed-lock: {sizes.contended:,} sends, round {number + 1} of {rounds}")
        together.append(await _seconds(sizes.contended, 1))
        apart.append(await _seconds(sizes.contended, _WORKERS))
    return _figure(together, apart, sizes)


async def _seconds(sends: int, accounts: int) -> float:
    """Between the first arrival and the last, at the target."""
    async with stack.running() as running:
        clients = await running.more_accounts(accounts)
        mark = running.target.mark()
        await _send_all(clients, sends)
        await running.start_workers(_WORKERS)
        await running.target.has_pushes(mark, sends, _WITHIN)
        arrivals = running.target.arrivals_since(mark)
    if len(arrivals) != sends:
        raise MismatchError(f"{len(arrivals):,} of {sends:,} devices were sent to")
    return max(arrivals.values()) - min(arrivals.values())


async def _send_all(clients: list[PushClient], sends: int) -> None:
    numbers = iter(range(sends))

    async def some() -> None:
        for number in numbers:
            await clients[number % len(clients)].send(_single(number))

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))


def _single(number: int) -> SendPushNotificationRequest:
    recipient = Recipient(token=messages.device_token("APN", number), provider=PROVIDER_APN)
    return SendPushNotificationRequest(to=[recipient], content=Content(title="Your code", body="123456"))


def _figure(together: list[float], apart: list[float], sizes: Sizes) -> Figure:
    ratios = [one / other for one, other in zip(together, apart, strict=True)]
    rows = [
        [f"{number}", f"{sizes.contended / one:,.0f}", f"{sizes.contended / other:,.0f}", f"{ratio:.2f}"]
        for number, (one, other, ratio) in enumerate(zip(together, apart, ratios, strict=True), 1)
    ]
    notes = ["a ratio of 2 is half the throughput"]
    columns = ["round", "one account", f"{_WORKERS} accounts", "time, x"]
    table = Table(f"Sends to one recipient a second, {_WORKERS} workers", columns, rows, notes)
    return Figure({KEYS[0]: statistics.median(ratios)}, {}, {"together_s": together, "apart_s": apart}, [table])
