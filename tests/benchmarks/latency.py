"""Figure (f): how long a single push takes from accept to the provider, idle and behind four bulk sends."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import NamedTuple

from pharos.push.v1.push_notifications_pb2 import PRIORITY_HIGH, Content, SendPushNotificationRequest
from pharos.push.v1.types_pb2 import PROVIDER_APN, Recipient

from tests.benchmarks import messages, stack
from tests.benchmarks.arithmetic import percentile
from tests.benchmarks.figure import Figure, Sizes, Table, say
from tests.benchmarks.judging import MismatchError
from tests.benchmarks.messages import Send
from tests.benchmarks.stack import Stack
from tests.benchmarks.target import Mark, Target

KEYS = ("single_push_p99_behind_bulk",)
_BULK_SENDS = 4
_MOST_BURSTS = 60
_WARM_UP = 100  # pushes
_PAUSE = 0.03  # seconds between single pushes, on average
_FIRST_SINGLE = 1 << 40  # above the numbers of all other devices
_WITHIN = 120.0


class Sent(NamedTuple):
    """A single push: its device, and when the call began and was answered (Unix time)."""

    token: str
    called: float
    accepted: float


class Delays(NamedTuple):
    """Milliseconds to the provider, of every push: from the beginning of the call, and from its answer."""

    from_call: list[float]
    from_accept: list[float]


class Singles:
    """Sends single pushes to one device each, and finds out when each arrived."""

    def __init__(self, running: Stack, nginx: Target) -> None:
        self._running = running
        self._nginx = nginx
        self._numbers = iter(range(_FIRST_SINGLE, 2 * _FIRST_SINGLE))

    async def send(self) -> Sent:
        token = messages.device_token("APN", next(self._numbers))
        request = SendPushNotificationRequest(
            to=[Recipient(token=token, provider=PROVIDER_APN)],
            content=Content(title="Your code", body="123456"),
            priority=PRIORITY_HIGH,
        )
        called = time.time()
        await self._running.client.send(request)
        return Sent(token, called, time.time())

    async def send_while(self, wanted: Callable[[], bool]) -> list[Sent]:
        """One after the other, at uneven intervals, so that no timer of the service falls into step with them."""
        sent = []
        while wanted():
            sent.append(await self.send())
            await asyncio.sleep(random.uniform(0, 2 * _PAUSE))  # noqa: S311 - no secret
        return sent

    def delays(self, sent: list[Sent], mark: Mark, until: float | None = None) -> Delays:
        """Of those that came before ``until``. Raises MismatchError when one did not come at all."""
        arrivals = self._nginx.arrivals_since(mark)
        if lost := [each for each in sent if each.token not in arrivals]:
            raise MismatchError(f"{len(lost)} of {len(sent)} single pushes did not arrive")
        came = [each for each in sent if until is None or arrivals[each.token] <= until]
        # The target's clock has steps of a millisecond.
        return Delays(
            [max(arrivals[each.token] - each.called, 0.0) * 1000 for each in came],
            [max(arrivals[each.token] - each.accepted, 0.0) * 1000 for each in came],
        )


async def measure(sizes: Sizes) -> Figure:
    """The bulk sends and the single pushes have the same credential, and so the same connection."""
    async with stack.running() as running:
        await running.start_workers()
        singles = Singles(running, running.target)
        await _warm_up(singles, running.target)
        idle = await _idle(singles, running.target, sizes)
        behind = await _behind_bulk(running, singles, running.target, sizes)
    return _figure(idle, behind, sizes)


async def _warm_up(singles: Singles, nginx: Target) -> None:
    """Until every worker has had pushes, and so its connection."""
    mark = nginx.mark()
    await asyncio.gather(*(singles.send() for _ in range(_WARM_UP)))
    await nginx.has_pushes(mark, _WARM_UP, _WITHIN)


async def _idle(singles: Singles, nginx: Target, sizes: Sizes) -> Delays:
    say(f"latency: {sizes.singles} single pushes, idle")
    mark = nginx.mark()
    left = iter(range(sizes.singles))
    sent = await singles.send_while(lambda: next(left, None) is not None)
    await nginx.has_pushes(mark, len(sent), _WITHIN)
    return singles.delays(sent, mark)


async def _behind_bulk(running: Stack, singles: Singles, nginx: Target, sizes: Sizes) -> Delays:
    """Bulk sends, four at a time, until enough single pushes have come while one of them was under way."""
    delays = Delays([], [])
    bulk = [Send("APN", sizes.recipients, personalised=True, first=n * sizes.recipients) for n in range(_BULK_SENDS)]
    bodies = [send.rest_body() for send in bulk]
    for burst in range(_MOST_BURSTS):
        say(f"latency: behind bulk, burst {burst + 1}, {len(delays.from_call)} of {sizes.singles} single pushes")
        found = await _burst(running, singles, nginx, bulk, bodies)
        delays.from_call.extend(found.from_call)
        delays.from_accept.extend(found.from_accept)
        if len(delays.from_call) >= sizes.singles:
            break
    return delays


async def _burst(running: Stack, singles: Singles, nginx: Target, bulk: list[Send], bodies: list[bytes]) -> Delays:
    mark, pushes = nginx.mark(), sum(send.pushes for send in bulk)
    enough = pushes - len(bulk)  # the malformed ones are shorter in the log
    operations = await asyncio.gather(*(running.accept(body) for body in bodies))
    sent = await singles.send_while(lambda: nginx.pushes_since(mark) < enough)
    await nginx.has_pushes(mark, enough + len(sent), _WITHIN)
    for operation in operations:
        await running.final(operation)
    arrivals = nginx.arrivals_since(mark)
    came = [at for token, at in arrivals.items() if int(token, 16) < _FIRST_SINGLE]
    if len(came) != enough:
        raise MismatchError(f"{len(came):,} of {enough:,} well-formed pushes of the bulk sends came")
    return singles.delays(sent, mark, until=max(came))


def _figure(idle: Delays, behind: Delays, sizes: Sizes) -> Figure:
    ratio = percentile(behind.from_accept, 0.99) / percentile(idle.from_accept, 0.99)
    raw = {
        "idle_ms": {"from_call": idle.from_call, "from_accept": idle.from_accept},
        "behind_bulk_ms": {"from_call": behind.from_call, "from_accept": behind.from_accept},
    }
    rows = [_row("idle", idle), _row(f"behind {_BULK_SENDS} sends of {sizes.recipients:,}", behind)]
    notes = [
        "milliseconds until the target has answered; from the call: accept is in it, from accept: from its answer on",
        "the ratio is that of the p99 from accept; a push that overtakes the answer to its caller took no time",
    ]
    columns = ["", "pushes", "from call p50", "p99", "from accept p50", "p99"]
    table = Table("Single pushes, from accept to the provider", columns, rows, notes)
    return Figure({KEYS[0]: ratio}, {}, raw, [table])


def _row(name: str, delays: Delays) -> list[str]:
    cells = [f"{percentile(each, share):.1f}" for each in delays for share in (0.5, 0.99)]
    return [name, str(len(delays.from_call)), *cells]
