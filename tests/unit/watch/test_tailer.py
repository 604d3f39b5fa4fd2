"""One reader of the feed for many streams: each event is read once, and memory stays bounded."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack

import pytest

from server.domain.errors import TokenExpired, Unavailable
from server.domain.feed import PAGE_ENTRIES, PAGE_RECIPIENTS, Changes, Checkpoint
from server.domain.notices import UnknownNotice
from server.domain.operations import Status
from server.watch import tailer
from server.watch.tailer import BEHIND, Page
from tests.unit.watch.feeds import settled, watching


async def test_many_readers_cost_one_read_of_each_event() -> None:
    async with watching() as w, AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(w.reader(w.filter())) for _ in range(50)]
        for reader in readers:
            await reader.next()
        waiting = [asyncio.ensure_future(reader.changes(200)) for reader in readers]
        await settled()
        operation = w.feed.operation(200)
        for n in range(200):
            w.feed.change(operation, n)
            if n % 20 == 0:
                w.grow()
                await asyncio.sleep(0)
        w.grow()
        expected = [(operation, n) for n in range(200)]
        assert await asyncio.gather(*waiting) == [expected] * 50
        assert w.feed.read_events <= 3 * len(w.feed.events)  # not 50 times


async def test_a_slow_reader_reads_for_itself_and_loses_nothing() -> None:
    async with watching() as w, w.reader(w.filter()) as slow, w.reader(w.filter()) as fast:
        await slow.next()
        await fast.next()
        operation = w.feed.operation(1_000)
        for n in range(1_000):
            w.feed.change(operation, n)
            if n % 50 == 0:
                w.grow()
                await fast.changes(1)
        assert await slow.changes(1_000) == [(operation, n) for n in range(1_000)]


async def test_readers_that_watch_the_same_get_the_same_messages() -> None:
    """Made once, however many there are."""
    async with watching() as w:
        operation = w.feed.operation(100)
        async with (
            w.reader(w.filter()) as one,
            w.reader(w.filter()) as two,
            w.reader(w.filter(None, None, Status.FAILED)) as other,
        ):
            for reader in (one, two, other):
                await reader.next()
            waiting = [asyncio.ensure_future(reader.next()) for reader in (one, two, other)]
            await settled()
            w.feed.change(operation, *range(100))
            w.grow()
            first, second, third = await asyncio.gather(*waiting)
        assert first is second
        assert isinstance(third, Changes)
        assert third.recipients == []


async def test_i14_what_is_kept_for_readers_is_bounded() -> None:
    async with watching() as w, w.reader(w.filter()) as reader:
        await reader.next()
        waiting = asyncio.ensure_future(reader.next())
        await settled()
        operation = w.feed.operation(5_000)
        for n in range(5_000):
            w.feed.change(operation, n)
        with w.tailer.tail(w.feed.account) as tail:
            await tail.advance()
            kept = sum(len(page.entries) for page in tail._ring)  # noqa: SLF001 - nobody else can see how much is kept
            assert tailer.RING - PAGE_ENTRIES < kept <= tailer.RING
        assert isinstance(await waiting, Changes)


async def test_i14_who_catches_up_holds_a_message_at_a_time_and_leaves_nothing_behind() -> None:
    """However slowly it takes them: entries and messages go with it, also in an account where nothing happens."""
    async with watching() as w:
        operation = w.feed.operation(10_000)
        async with w.reader(w.filter()) as early:
            token = (await early.next()).token
        for first in range(0, 10_000, 500):
            w.feed.change(operation, *range(first, first + 500))
        async with w.reader(w.filter()) as other, w.reader(w.filter(), token) as behind:
            await other.next()
            waiting = asyncio.ensure_future(other.next())  # holds the ring at the end
            await settled()
            w.feed.asked.clear()
            assert await behind.changes(10_000) == [(operation, n) for n in range(10_000)]
            assert w.feed.asked == [BEHIND] * 20
            gc.collect()
            pages = [each for each in gc.get_objects() if isinstance(each, Page)]
            assert len(pages) <= 1, "the last that it read, or none"
            waiting.cancel()
            await asyncio.wait([waiting])


async def test_i14_an_account_that_nobody_watches_is_forgotten() -> None:
    async with watching() as w:
        async with w.reader(w.filter()) as reader:
            await reader.next()
            assert len(w.tailer._tails) == 1  # noqa: SLF001 - nobody else can see what is kept
        assert w.tailer._tails == {}  # noqa: SLF001 - nobody else can see what is kept
        before = w.feed.read_events
        w.feed.operation(1)
        w.hints.ring(None)
        await settled()
        assert w.feed.read_events == before


async def test_a_reader_that_is_ahead_of_the_others_takes_nothing_from_them() -> None:
    async with watching() as w, w.reader(w.filter()) as early:
        await early.next()
        waiting = asyncio.ensure_future(early.changes(10))
        await settled()
        operation = w.feed.operation(20)
        for n in range(10):
            w.feed.change(operation, n)
        async with w.reader(w.filter()) as late:  # its snapshot is newer than what the tailer has read
            await late.next()
            following = asyncio.ensure_future(late.changes(1))
            await settled()
            assert await waiting == [(operation, n) for n in range(10)]
            w.feed.change(operation, 10)
            w.grow()
            assert await following == [(operation, 10)]


async def test_i13_lost_hints_cost_a_poll_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailer, "POLL_SECONDS", 0.05)
    async with watching() as w, w.reader(w.filter()) as reader:
        await reader.next()
        waiting = asyncio.ensure_future(reader.changes(1))
        await settled()
        operation = w.feed.operation(1)
        w.feed.change(operation, 0)
        assert await waiting == [(operation, 0)]


async def test_i13_lost_hints_are_made_good_also_while_other_accounts_keep_the_tailer_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tailer, "POLL_SECONDS", 0.1)
    async with watching() as w, w.reader(w.filter()) as reader:
        await reader.next()
        waiting = asyncio.ensure_future(reader.changes(1))
        await settled()
        operation = w.feed.operation(1)
        w.feed.change(operation, 0)
        other = w.feed.epoch  # any other account

        async def ring() -> None:
            while True:
                w.hints.ring(other)
                await settled()

        busy = asyncio.ensure_future(ring())
        try:
            assert await waiting == [(operation, 0)]
        finally:
            busy.cancel()
            await asyncio.wait([busy])


async def test_an_unreachable_database_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailer, "POLL_SECONDS", 0.02)
    async with watching() as w, w.reader(w.filter()) as reader:
        await reader.next()
        waiting = asyncio.ensure_future(reader.changes(1))
        await settled()
        w.feed.broken.extend([Unavailable("gone")] * 2)
        operation = w.feed.operation(1)
        w.feed.change(operation, 0)
        w.grow()
        assert await waiting == [(operation, 0)]
        assert w.feed.broken == []


async def test_a_stopping_server_sends_its_readers_away_with_a_last_checkpoint() -> None:
    """From which they go on elsewhere, also past what was not theirs."""
    async with watching() as w:
        async with w.reader(w.filter(None, None, Status.FAILED)) as reader:
            await reader.next()
            waiting = asyncio.ensure_future(reader.next())
            await settled()
            operation = w.feed.operation(2)
            w.feed.change(operation, 0, status=Status.FAILED)
            w.grow()
            told = await waiting
            waiting = asyncio.ensure_future(reader.next())
            await settled()
            w.tailer.close()
            last = await waiting
            with pytest.raises(Unavailable):
                await reader.next()
        assert isinstance(last, Checkpoint)
        assert last.token == told.token


async def test_who_comes_back_after_long_keeps_nobody_else_waiting() -> None:
    """It reads the backlog for itself; what is read for all goes on at the feed's end."""
    async with watching() as w:
        operation = w.feed.operation(10_000)
        async with w.reader(w.filter()) as early:
            token = (await early.next()).token
        for first in range(0, 10_000, 100):
            w.feed.change(operation, *range(first, first + 100))
        w.feed.asked.clear()
        async with w.reader(w.filter(), token) as back:
            await back.next()
            w.grow()
            await settled()
            assert w.feed.asked.count(PAGE_RECIPIENTS) <= 2  # at the end, where there is nothing
            assert await back.changes(10_000) == [(operation, n) for n in range(10_000)]


async def test_i13_reliable_what_retention_takes_during_a_catch_up_is_an_error_and_not_left_out() -> None:
    async with watching() as w:
        operation = w.feed.operation(4_000)
        async with w.reader(w.filter()) as early:
            token = (await early.next()).token
        for first in range(0, 4_000, 100):
            w.feed.change(operation, *range(first, first + 100))
        async with w.reader(w.filter(), token) as back:
            seen = await back.changes(500)
            w.feed.forget(30)
            with pytest.raises(TokenExpired):
                await back.changes(4_000)
        assert seen == [(operation, n) for n in range(len(seen))]


async def test_a_feed_that_can_not_be_read_ends_its_own_readers_alone() -> None:
    async with watching() as w, w.reader(w.filter()) as reader:
        await reader.next()
        waiting = asyncio.ensure_future(reader.next())
        await settled()
        w.feed.broken.append(KeyError("nobody knows this"))
        w.feed.operation(1)
        w.grow()
        with pytest.raises(KeyError):
            await waiting
        async with w.reader(w.filter()) as other:  # what reads for all is still there
            await other.next()
            following = asyncio.ensure_future(other.next())
            await settled()
            operation = w.feed.operation(1)
            w.grow()
            told = await following
    assert isinstance(told, Changes)
    assert [each.operation_id for each in told.operations] == [operation]


async def test_a_stream_that_opens_while_the_server_stops_is_sent_away_too() -> None:
    async with watching() as w:
        w.tailer.close()
        async with w.reader(w.filter()) as reader:
            await reader.next()
            assert isinstance(await reader.next(), Checkpoint)
            with pytest.raises(Unavailable):
                await reader.next()


async def test_news_that_only_a_newer_version_knows_are_passed_over() -> None:
    async with watching() as w, w.reader(w.filter()) as early:
        await early.next()
        waiting = asyncio.ensure_future(early.next())
        await settled()
        w.feed.notice(UnknownNotice())
        async with w.reader(w.filter()) as late:
            await late.next()
            operation = w.feed.operation(1)
            w.feed.notice(UnknownNotice())
            w.grow()
            told = await waiting
            assert isinstance(told, Changes)
            assert [each.operation_id for each in told.operations] == [operation]
            assert told.notices == []


async def test_i14_a_reader_that_stops_holds_the_rest_of_a_page_at_most_however_far_the_feed_goes_on() -> None:
    async with watching() as w, w.reader(w.filter()) as stopped, w.reader(w.filter()) as active:
        for reader in (stopped, active):
            await reader.next()
        waiting = [asyncio.ensure_future(reader.next()) for reader in (stopped, active)]
        await settled()
        operation = w.feed.operation(40_000)
        for first in range(0, 40_000, 500):
            w.feed.change(operation, *range(first, first + 500))
        w.grow()
        first, second = await asyncio.gather(*waiting)  # of a page that has more messages
        assert first is second
        del first, second, waiting
        assert len(await active.changes(39_000)) >= 39_000
        gc.collect()
        held = sum(len(each.recipients) for each in gc.get_objects() if isinstance(each, Changes))
        assert 0 < held <= 2 * PAGE_RECIPIENTS + 500, "what the stopped one waits with, and the ring's newest page"
