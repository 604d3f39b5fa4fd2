"""Figure (g): what the status stream costs the server, and how soon a subscriber knows."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
from google.protobuf.timestamp_pb2 import Timestamp
from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusRequest, WatchDeliveryStatusResponse
from pharos.push.v1.push_notifications_pb2 import Schedule

from tests.benchmarks import accounting, stack
from tests.benchmarks.arithmetic import percentile
from tests.benchmarks.figure import Figure, Sizes, Table, say
from tests.benchmarks.latency import Singles
from tests.benchmarks.messages import Send
from tests.benchmarks.stack import Stack
from tests.benchmarks.subscriber import Subscriber, subscribed

KEYS = ("stream_cpu_us_per_event", "stream_fan_out", "stream_p99_ms", "stream_idle_mib")
_WITHIN = 600.0
_AHEAD = 6.0  # seconds between a send and its time, in which its subscribers come
_AT_ONCE = 50  # connections being made


@dataclass(frozen=True)
class Idle:
    """What subscribers that are told nothing cost: MiB; CPU seconds and transactions a minute, of one and of all."""

    mib: float
    cpu: tuple[float, float]
    transactions: tuple[float, float]


@dataclass(frozen=True)
class FanOut:
    """CPU seconds: of the server, and of serialising every message once for every subscriber."""

    server: float
    serialising: float
    messages: int
    recipients: int


async def measure(sizes: Sizes) -> Figure:
    """One stack for all: first nobody but idle subscribers, then the sends."""
    async with stack.running() as running:
        idle = await _idle(running, sizes)
        cost = await _one_subscriber(running, sizes)
        fan_outs = [await _fan_out(running, sizes, n) for n in range(sizes.rounds)]
        delays = await _delays(running, sizes)
    return _figure(idle, cost, fan_outs, delays, sizes)


async def _idle(running: Stack, sizes: Sizes) -> Idle:
    say(f"stream: {sizes.idle_subscribers:,} idle subscribers")
    [server] = running.roles["serve"]
    async with subscribed(running.grpc, running.metadata, WatchDeliveryStatusRequest()):
        alone = await _minute(running, sizes)
        before = accounting.resident_mib(server)
        async with AsyncExitStack() as streams:
            many = await _subscribers(running, streams, sizes.idle_subscribers, WatchDeliveryStatusRequest())
            await asyncio.gather(*(each.next() for each in many))  # its first checkpoint: all are at rest
            reading = [asyncio.create_task(_read_on(each)) for each in many]  # checkpoints
            together = await _minute(running, sizes)
            mib = accounting.resident_mib(server) - before
            for task in reading:
                task.cancel()
            await asyncio.wait(reading)
    cpu, transactions = zip(alone, together, strict=True)
    return Idle(mib, cpu, transactions)


async def _minute(running: Stack, sizes: Sizes) -> tuple[float, float]:
    """CPU seconds of the server and transactions of PostgreSQL in a minute."""
    connection = await asyncpg.connect(running.database_url)
    try:
        before = running.cpu()["serve"], await _transactions(connection)
        await asyncio.sleep(sizes.idle_seconds)
        after = running.cpu()["serve"], await _transactions(connection)
    finally:
        await connection.close()
    return (
        (after[0] - before[0]) / sizes.idle_seconds * 60,
        (after[1] - before[1]) / sizes.idle_seconds * 60,
    )


async def _transactions(connection: asyncpg.Connection) -> int:
    await connection.execute("select pg_stat_clear_snapshot()")
    query = "select xact_commit from pg_stat_database where datname = current_database()"
    return int(await connection.fetchval(query))


async def _read_on(subscriber: Subscriber) -> None:
    while True:
        await subscriber.next()


async def _subscribers(
    running: Stack, streams: AsyncExitStack, count: int, request: WatchDeliveryStatusRequest
) -> list[Subscriber]:
    """So many, of which the first keeps its messages."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> Subscriber:
        async with limit:
            opened = subscribed(running.grpc, running.metadata, request, keeps=number == 0)
            return await streams.enter_async_context(opened)

    return await asyncio.gather(*(one(number) for number in range(count)))


async def _one_subscriber(running: Stack, sizes: Sizes) -> float:
    """CPU microseconds of the server an event, of an account all of whose sends are queued before the first push."""
    count = sizes.events // sizes.recipients
    say(f"stream: {sizes.events:,} events to one subscriber")
    sends = [Send("FCM", sizes.recipients, personalised=True, first=n * sizes.recipients) for n in range(count)]
    for send in sends:
        await running.accept(send.rest_body())
    async with subscribed(running.grpc, running.metadata, WatchDeliveryStatusRequest()) as subscriber:
        before = running.cpu()["serve"]
        await running.start_workers()
        await subscriber.until(count * sizes.recipients, _WITHIN)
        return (running.cpu()["serve"] - before) / subscriber.recipients * 1e6


async def _fan_out(running: Stack, sizes: Sizes, number: int) -> FanOut:
    """All watch an operation from before its first push to its end."""
    say(f"stream: {sizes.subscribers} subscribers, round {number + 1} of {sizes.rounds}")
    send = Send("FCM", sizes.recipients, personalised=True, first=(100 + number) * sizes.recipients).grpc_request()
    at = Timestamp()
    at.FromDatetime(datetime.now(UTC) + timedelta(seconds=_AHEAD))
    send.schedule.CopyFrom(Schedule(send_at=at))
    accepted = await running.client.send(send)
    request = WatchDeliveryStatusRequest(operation_id=accepted.operation_id)
    async with AsyncExitStack() as streams:
        subscribers = await _subscribers(running, streams, sizes.subscribers, request)
        before = running.cpu()["serve"]
        await asyncio.gather(*(each.to_the_end(_WITHIN) for each in subscribers))
        spent = running.cpu()["serve"] - before
    messages = subscribers[0].messages
    return FanOut(spent, _serialising(messages) * len(subscribers), len(messages), sizes.recipients)


def _serialising(messages: Sequence[WatchDeliveryStatusResponse]) -> float:
    """CPU seconds of serialising them once; the best of some, as nothing else is to be in it."""
    tries = []
    for _ in range(5):
        before = time.process_time()
        for message in messages:
            message.SerializeToString()
        tries.append(time.process_time() - before)
    return min(tries)


async def _delays(running: Stack, sizes: Sizes) -> list[float]:
    """Milliseconds from the target's answer to the subscriber's message, of single pushes."""
    say(f"stream: {sizes.singles} single pushes, from the provider's answer to the subscriber")
    mark = running.target.mark()
    left = iter(range(sizes.singles))
    request = WatchDeliveryStatusRequest(snapshot=False)
    async with subscribed(running.grpc, running.metadata, request, keeps=True) as subscriber:
        reading = asyncio.create_task(subscriber.until(sizes.singles, _WITHIN))
        sent = await Singles(running, running.target).send_while(lambda: next(left, None) is not None)
        await reading
    arrivals = running.target.arrivals_since(mark)
    return [max(subscriber.told[each.token] - arrivals[each.token], 0.0) * 1000 for each in sent]


def _figure(idle: Idle, cost: float, fan_outs: Sequence[FanOut], delays: Sequence[float], sizes: Sizes) -> Figure:
    ratios = [each.server / each.serialising for each in fan_outs]
    found = dict(zip(KEYS, (cost, statistics.median(ratios), percentile(delays, 0.99), idle.mib), strict=True))
    raw = {
        "cpu_us_per_event": cost,
        "fan_out": [[each.server, each.serialising, each.messages] for each in fan_outs],
        "delays_ms": list(delays),
        "idle": {"mib": idle.mib, "cpu_s_per_minute": idle.cpu, "transactions_per_minute": idle.transactions},
    }
    tables = [_fan_out_table(fan_outs, ratios, sizes), _delay_table(delays), _idle_table(idle, sizes)]
    return Figure({**found}, {}, raw, tables)


def _fan_out_table(fan_outs: Sequence[FanOut], ratios: Sequence[float], sizes: Sizes) -> Table:
    rows = [
        [f"{number}", f"{each.server:.3f}", f"{each.serialising:.3f}", f"{ratio:.2f}", f"{each.messages}"]
        for number, (each, ratio) in enumerate(zip(fan_outs, ratios, strict=True), 1)
    ]
    notes = [
        "the server's CPU has reading the feed, making each message once, and writing it to every connection in it",
        "serialising: SerializeToString of the messages that one subscriber got, times the subscribers",
    ]
    title = f"{sizes.subscribers} subscribers to an operation of {sizes.recipients:,}, CPU s"
    return Table(title, ["round", "server", "serialising", "ratio", "messages"], rows, notes)


def _delay_table(delays: Sequence[float]) -> Table:
    cells = [f"{percentile(delays, share):.1f}" for share in (0.5, 0.99, 1.0)]
    notes = ["the target's clock has steps of a millisecond"]
    title = "From the provider's answer to a subscriber, ms"
    return Table(title, ["", "pushes", "p50", "p99", "most"], [["idle", str(len(delays)), *cells]], notes)


def _idle_table(idle: Idle, sizes: Sizes) -> Table:
    names = ["one", f"{sizes.idle_subscribers + 1:,}"]
    rows = [
        [name, f"{cpu:.2f}", f"{transactions:.0f}"]
        for name, cpu, transactions in zip(names, idle.cpu, idle.transactions, strict=True)
    ]
    notes = [
        f"the {sizes.idle_subscribers:,} take {idle.mib:.0f} MiB of the server, each with a connection of its own",
        "they are told a checkpoint every 14 s; transactions are of all that runs, health checks too",
    ]
    columns = ["subscribers", "server, CPU s a minute", "PostgreSQL, transactions a minute"]
    return Table("Idle subscribers", columns, rows, notes)
