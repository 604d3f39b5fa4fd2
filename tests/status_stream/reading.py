"""Readers of status streams that write down what they are told. How they connect is theirs who makes them."""

from __future__ import annotations

from asyncio import Event
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from tests.status_stream.history import Kind, Message, Sitting, Subscription

Connect = Callable[[str], AbstractAsyncContextManager[AsyncIterator[Message]]]
Leaves = Callable[[Message], bool]
Resume = Callable[[Subscription], str]


class Lost(Exception):
    """The call was ended by the other side, in a way that asks to go on with the last token."""


class Refused(Exception):
    """The other side did not take the call, and would not take it again."""


def stays(_message: Message) -> bool:
    return False


def leaves_often(message: Message) -> bool:
    """After whatever can be gone on from, but for the checkpoint that greets a reader who does."""
    return bool(message.token) and message.kind is not Kind.CHECKPOINT


def last_token(subscription: Subscription) -> str:
    return subscription.token


def some_token(chance: Random, among: int = 8) -> Resume:
    """Of one of its last messages: as one does that had not kept the others."""

    def resume(subscription: Subscription) -> str:
        return chance.choice([message.token for message in subscription.log()[-among:] if message.token] or [""])

    return resume


def held_up(connect: Connect, go_on: Event) -> Connect:
    """Who takes the first message, and the others when it is let go on."""

    @asynccontextmanager
    async def connected(token: str) -> AsyncIterator[AsyncIterator[Message]]:
        async with connect(token) as messages:
            yield _held_up(messages, go_on)

    return connected


async def _held_up(messages: AsyncIterator[Message], go_on: Event) -> AsyncIterator[Message]:
    async for message in messages:
        yield message
        await go_on.wait()


@dataclass
class Reader:
    """``last_seq`` is the feed's at the time."""

    subscription: Subscription
    connect: Connect
    last_seq: Callable[[], Awaitable[int]]
    lost: int = field(default=0, init=False)

    async def follow(self, over: Leaves, leaves: Leaves = stays, resume: Resume = last_token) -> None:
        """Reads until a message is the last one, leaves after others, and goes on behind a token."""
        token = self.subscription.token
        while not await self.sit(token, over, leaves):
            token = resume(self.subscription)

    async def sit(self, token: str, over: Leaves, leaves: Leaves = stays) -> bool:
        """One call, until the reader leaves or is sent away. Whether it has had the last message."""
        sitting = Sitting(token, monotonic())
        self.subscription.sittings.append(sitting)
        try:
            async with self.connect(token) as messages:
                async for message in messages:
                    sitting.messages.append(message)
                    if not token and len(sitting.messages) == 1:
                        self.subscription.behind = await self.last_seq()
                    if over(message):
                        return True
                    if leaves(message):
                        return False
        except Lost:
            self.lost += 1
        except Refused as why:
            sitting.refused = str(why)
            raise
        finally:
            sitting.closed = monotonic()
        return False
