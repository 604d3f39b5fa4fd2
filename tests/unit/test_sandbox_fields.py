"""Header blocks: the Rust HPACK coder agrees with hpack, and nothing a peer sends gets past the checks."""

from __future__ import annotations

import random

import hpack
import pytest

from sandbox.fields import HeaderCodec, HeadParser, Malformed, is_well_formed
from sandbox.frames import ConnectionFault, ErrorCode

GOOD = [(b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/x"), (b":authority", b"localhost")]


def fields(*pairs: tuple[bytes, bytes]) -> list[tuple[bytes, bytes, bool]]:
    return [(name, value, False) for name, value in pairs]


def random_headers(chance: random.Random) -> list[tuple[bytes, bytes]]:
    def text(size: int) -> bytes:
        return bytes(chance.randrange(33, 127 if chance.random() < 0.8 else 256) for _ in range(size))

    names = [b"apns-id", b"authorization", b":path", b"x-%d" % chance.randrange(30)]
    return [(chance.choice(names), text(chance.randrange(60))) for _ in range(chance.randrange(12))]


def test_blocks_of_another_encoder_are_decoded_alike_with_a_moving_table() -> None:
    chance = random.Random(7)  # noqa: S311 - a repeatable test
    encoder, codec = hpack.Encoder(), HeaderCodec(65_536)
    for _ in range(1500):
        if chance.random() < 0.05:
            encoder.header_table_size = chance.choice([0, 64, 300, 4096])
        headers = random_headers(chance)
        block = encoder.encode(headers, huffman=chance.random() < 0.5)
        assert [(name, value) for name, value, _ in codec.decode(block)] == headers


def test_our_blocks_are_decoded_by_another_decoder_whatever_table_it_allows() -> None:
    chance = random.Random(11)  # noqa: S311 - a repeatable test
    codec, decoder = HeaderCodec(65_536), hpack.Decoder()
    for turn in range(1500):
        if chance.random() < 0.05:
            codec.set_peer_table_size(chance.choice([0, 64, 300, 4096]))
        headers = ((b"apns-id", b"%d" % turn), (b"server", b"ESF"))
        decoded = [tuple(field) for field in decoder.decode(codec.encode(200 + turn % 300, headers), raw=True)]
        assert decoded == [(b":status", b"%d" % (200 + turn % 300)), *headers]


def test_a_peer_without_a_table_gets_stateless_blocks() -> None:
    codec = HeaderCodec(65_536)
    codec.set_peer_table_size(0)
    codec.encode(200, ((b"server", b"ESF"),))
    stateless = hpack.Decoder()
    stateless.max_allowed_table_size = 0
    stateless.header_table_size = 0
    assert (b"server", b"ESF") in [
        tuple(field) for field in stateless.decode(codec.encode(200, ((b"server", b"ESF"),)), raw=True)
    ]


def test_random_bytes_end_in_a_connection_error_and_nothing_else() -> None:
    chance = random.Random(3)  # noqa: S311 - a repeatable test
    refused = 0
    for _ in range(20_000):
        block = chance.randbytes(chance.randrange(1, 40))
        try:
            HeaderCodec(8000).decode(block)
        except ConnectionFault:
            refused += 1
    assert refused > 10_000


def test_every_truncation_of_a_block_is_refused_or_ends_between_fields() -> None:
    block = hpack.Encoder().encode([*GOOD, (b"apns-id", b"x" * 200), (b"x-long" * 30, b"y" * 300)])
    whole = HeaderCodec(8000).decode(block)
    for size in range(len(block)):
        if is_well_formed(block[:size]):
            decoded = HeaderCodec(8000).decode(block[:size])
            assert decoded == whole[: len(decoded)]


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\x88\x20", id="size update after a field"),
        pytest.param(b"\x40\x05ab", id="truncated name"),
        pytest.param(b"\xff\xff\xff\xff\xff\xff\xff", id="endless integer"),
        pytest.param(b"\xbe", id="index beyond the table"),
        pytest.param(b"\x3f\xe1\x7f\x88", id="table larger than allowed"),
    ],
)
def test_a_bad_block_is_a_compression_error(block: bytes) -> None:
    with pytest.raises(ConnectionFault) as caught:
        HeaderCodec(8000).decode(block)
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR


def test_a_header_list_above_the_limit_is_refused() -> None:
    block = hpack.Encoder().encode([(b"x-%d" % index, b"v" * 100) for index in range(100)])
    with pytest.raises(ConnectionFault) as caught:
        HeaderCodec(8000).decode(block)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_a_request_is_sorted_into_its_parts() -> None:
    head = HeadParser().parse(fields(*GOOD, (b"apns-id", b"1"), (b"cookie", b"a"), (b"cookie", b"b")))
    assert head.method == b"POST"
    assert head.path == b"/x"
    assert head.headers == {b"apns-id": b"1", b"cookie": b"b"}
    assert head.repeated == {b"cookie"}


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param(GOOD[:2], id="no path"),
        pytest.param([*GOOD, (b":path", b"/y")], id="pseudo twice"),
        pytest.param([(b"a", b"1"), *GOOD], id="pseudo after regular"),
        pytest.param([*GOOD, (b":status", b"200")], id="unknown pseudo"),
        pytest.param([*GOOD, (b"Apns-Id", b"1")], id="upper case"),
        pytest.param([*GOOD, (b"", b"1")], id="empty name"),
        pytest.param([*GOOD, (b"connection", b"close")], id="connection"),
        pytest.param([*GOOD, (b"te", b"gzip")], id="te"),
        pytest.param([*GOOD, (b"a", b"1\r\nb: 2")], id="line break"),
        pytest.param([*GOOD, (b"a", b" 1")], id="leading space"),
    ],
)
def test_a_malformed_request_is_refused(pairs: list[tuple[bytes, bytes]]) -> None:
    parser = HeadParser()
    for _ in range(2):  # the second time what was valid in it is known
        with pytest.raises(Malformed):
            parser.parse(fields(*pairs))
