"""A connection without a network: what it writes is kept, what a peer says is made up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from server.providers.http2 import frames
from server.providers.http2.blocks import RequestBlocks, StatefulBlocks, StatelessBlocks
from server.providers.http2.connection import Connection
from server.providers.http2.exchange import Exchange
from server.providers.transport import NotSentError, Request, SharedHeaders

SHARED = SharedHeaders((("authorization", "bearer s3cret"), ("apns-topic", "com.example.app")))


class Socket(asyncio.Transport):
    """Takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


@dataclass
class Pool:
    """Has one connection, and keeps what that gives back."""

    given_back: list[Exchange] = field(default_factory=list)
    given_up: list[Exchange] = field(default_factory=list)

    def has_room(self, connection: Connection) -> None:
        pass

    def was_retired(self, connection: Connection) -> None:
        pass

    def was_lost(self, connection: Connection) -> None:
        pass

    def not_sent(self, exchange: Exchange, error: NotSentError) -> None:
        assert isinstance(error, NotSentError)
        self.given_back.append(exchange)

    def give_up(self, exchange: Exchange) -> None:
        self.given_up.append(exchange)


@dataclass
class Conversation:
    """A connection with requests on streams 1, 3, 5 ... ``table``: of what size for response headers."""

    requests: int
    table: int = 0
    pool: Pool = field(default_factory=Pool)
    socket: Socket = field(default_factory=Socket)

    def __post_init__(self) -> None:
        blocks = StatefulBlocks(self.table) if self.table else StatelessBlocks()
        self.connection = Connection(self.pool, RequestBlocks("localhost"), blocks, 1000, proof=False)
        self.connection.connection_made(self.socket)
        loop = asyncio.get_running_loop()
        self.exchanges = [
            Exchange(Request(f"/{number}", SHARED, (), b"{}"), loop.time() + 60, self.pool, loop)
            for number in range(self.requests)
        ]

    def begin(self) -> None:
        for exchange in self.exchanges:
            if self.connection.can_start():
                self.connection.start(exchange)
            else:
                self.pool.given_back.append(exchange)

    def end(self) -> None:
        """The peer goes."""
        self.connection.connection_lost(None)
        if self.connection.ready.done() and not self.connection.ready.cancelled():
            self.connection.ready.exception()


def answers(chance: random.Random, requests: int) -> list[bytes]:
    """What a lawful and talkative peer says to so many requests: frames, in an order that is allowed."""
    said = [frames.settings({frames.Setting.MAX_CONCURRENT_STREAMS: 100}), frames.settings_ack()]
    for stream in chance.sample(range(1, 2 * requests, 2), requests):
        said += chance.choice(_ANSWERS)(chance, stream)
        if chance.random() < 0.3:
            said.append(chance.choice(_BETWEEN)(chance, stream))
    return said


def _plain(_: random.Random, stream: int) -> list[bytes]:
    return [frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, b"\x88")]


def _with_body(chance: random.Random, stream: int) -> list[bytes]:
    body = chance.randbytes(chance.randrange(200))
    return [
        frames.frame(frames.HEADERS, frames.END_HEADERS, stream, b"\x8c\x40\x01a\x01b"),
        frames.frame(frames.DATA, frames.PADDED | frames.END_STREAM, stream, b"\x03" + body + b"\0\0\0"),
    ]


def _in_pieces(_: random.Random, stream: int) -> list[bytes]:
    return [
        frames.frame(frames.HEADERS, frames.END_HEADERS, stream, b"\x08\x03103"),
        frames.frame(frames.HEADERS, 0, stream, b"\x08\x034"),
        frames.frame(frames.CONTINUATION, frames.END_HEADERS, stream, b"29"),
        frames.frame(frames.DATA, 0, stream, b"{}"),
        frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, b"\x00\x01t\x01u"),
    ]


def _reset(chance: random.Random, stream: int) -> list[bytes]:
    return [frames.rst_stream(stream, chance.choice(list(frames.ErrorCode)))]


_ANSWERS: list[Callable[[random.Random, int], list[bytes]]] = [_plain, _with_body, _in_pieces, _reset]
_BETWEEN: list[Callable[[random.Random, int], bytes]] = [
    lambda chance, _: frames.frame(frames.PING, 0, 0, chance.randbytes(8)),
    lambda chance, _: frames.window_update(0, chance.randrange(1, 1000)),
    lambda chance, stream: frames.window_update(stream, chance.randrange(1, 1000)),
    lambda chance, _: frames.frame(chance.randrange(10, 256), chance.randrange(256), chance.randrange(9), b"what?"),
    lambda chance, _: frames.settings({chance.choice(list(frames.Setting)[3:]): chance.randrange(16_384, 60_000)}),
    lambda _, __: frames.goaway(frames.ErrorCode.NO_ERROR),
]
