"""Whatever a peer says: the connection ends in order, and each request has one fate.

120,000 conversations, half of them lawful ones that were damaged, the others noise in the shape of frames.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.providers.http2 import frames
from server.providers.http2.exchange import LARGEST_ANSWER
from server.providers.transport import TransportError
from tests.unit.providers.http2_peers import Conversation, answers

_EXAMPLES, _EACH = 120, 1_000
_REQUESTS = 4


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 # repeatable, and hides nothing


def _damaged(chance: random.Random, said: list[bytes]) -> bytes:
    """The conversation with one to three things wrong."""
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(said))
        match chance.randrange(6):
            case 0:
                said.insert(at, said[chance.randrange(len(said))])
            case 1:
                del said[at]
                said.append(b"")
            case 2:
                said[at] = said[at][: chance.randrange(len(said[at]) + 1)]
            case 3:
                said[at] += chance.randbytes(chance.randrange(20))
            case _:
                piece = bytearray(said[at])
                for _ in range(min(len(piece), chance.randrange(1, 4))):
                    piece[chance.randrange(len(piece))] = chance.randrange(256)
                said[at] = bytes(piece)
    return b"".join(said)


def _noise(chance: random.Random) -> bytes:
    """Frames of any kind with anything in them, behind settings as they should be."""
    said = [frames.settings({})]
    for _ in range(chance.randrange(1, 12)):
        content = chance.randbytes(chance.choice((0, 1, 4, 5, 6, 8, 12, 30)))
        kind, flags, stream = chance.randrange(11), chance.randrange(256), chance.randrange(2 * _REQUESTS + 2)
        said.append(frames.frame(kind, flags, stream, content))
    return b"".join(said)


def _pieces(chance: random.Random, data: bytes) -> list[bytes]:
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(4)))
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def _converse(chance: random.Random, data: bytes) -> None:
    talk = Conversation(_REQUESTS, table=chance.choice((0, 4096)))
    talk.begin()
    if chance.random() < 0.9:
        await asyncio.sleep(0)  # else nothing was written before the peer spoke
    for piece in _pieces(chance, data):
        talk.connection.data_received(piece)
    assert len(talk.connection._reader._rest) < frames.HEADER_BYTES + frames.DEFAULT_FRAME_SIZE  # noqa: SLF001 # memory
    talk.end()
    _assert_one_fate_each(talk)


def _assert_one_fate_each(talk: Conversation) -> None:
    given_back = [id(exchange) for exchange in talk.pool.given_back]
    assert len(given_back) == len(set(given_back))
    for exchange in talk.exchanges:
        assert exchange.done() != (id(exchange) in given_back)
        if not exchange.done():
            continue
        if exchange.exception() is not None:
            assert isinstance(exchange.exception(), TransportError)
            continue
        answer = exchange.result()
        assert 100 <= answer.status <= 999
        assert len(answer.body) <= LARGEST_ANSWER
        dict(answer.headers)


@pytest.mark.timeout(170)
@settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**64 - 1))
def test_no_peer_gets_more_than_its_connection_into_trouble(seed: int) -> None:
    chance = _chance(seed)

    async def conversations() -> None:
        for number in range(_EACH):
            data = _damaged(chance, answers(chance, _REQUESTS)) if number % 2 else _noise(chance)
            try:
                await _converse(chance, data)
            except Exception as error:
                raise AssertionError(f"conversation {number}: {data.hex()}") from error

    asyncio.run(conversations())


@given(st.integers(0, 2**64 - 1))
def test_a_lawful_peer_is_understood_however_its_bytes_are_cut(seed: int) -> None:
    async def conversation(cut: random.Random) -> list[object]:
        chance = _chance(seed)
        talk = Conversation(_REQUESTS)
        talk.begin()
        await asyncio.sleep(0)
        for piece in _pieces(cut, b"".join(answers(chance, _REQUESTS))):
            talk.connection.data_received(piece)
        talk.end()
        _assert_one_fate_each(talk)
        return [_fate(talk, number) for number in range(_REQUESTS)]

    whole = asyncio.run(conversation(_chance(0)))
    assert asyncio.run(conversation(_chance(seed + 1))) == whole


def _fate(talk: Conversation, number: int) -> object:
    exchange = talk.exchanges[number]
    if not exchange.done():
        return "given back"
    error = exchange.exception()
    return repr(error) if error else (exchange.result().status, exchange.result().body)
