"""Header blocks of requests, read by somebody else's HPACK."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.providers.http2.blocks import RequestBlocks, UnsendableHeader
from server.providers.transport import SharedHeaders

_NAMES = st.sampled_from(["authorization", "apns-topic", "apns-priority", "content-type", "x"])
_VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=300)
_FIELDS = st.lists(st.tuples(_NAMES, _VALUES), max_size=6).map(tuple)
_KINDS = st.lists(_FIELDS, min_size=1, max_size=6)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("request"), st.integers(0, 5), _FIELDS),
        st.tuples(st.just("table"), st.sampled_from([0, 64, 300, 4096, 65_536]), st.just(())),
    ),
    max_size=40,
)


@given(_KINDS, _STEPS)
def test_every_block_says_what_it_should_whatever_was_said_before(
    kinds: list[tuple[tuple[str, str], ...]], steps: list[tuple[str, int, tuple[tuple[str, str], ...]]]
) -> None:
    shared = [SharedHeaders(fields) for fields in kinds]
    blocks, peer = RequestBlocks("push.example:443"), hpack.Decoder()
    for what, number, own in steps:
        if what == "table":
            blocks.resize(number)
            peer.max_allowed_table_size = number
            continue
        kind = shared[number % len(shared)]
        read = peer.decode(blocks.encode("/3/device/f00d", kind, own, 42))
        found = [(str(name), str(value)) for name, value in read]
        pseudo = [(":method", "POST"), (":scheme", "https"), (":path", "/3/device/f00d")]
        assert sorted(found[:4]) == sorted([*pseudo, (":authority", "push.example:443")])
        assert sorted(found[4:]) == sorted([*kind.fields, *own, ("content-length", "42")])


def test_what_is_shared_costs_a_byte_each_after_the_first_time() -> None:
    shared = SharedHeaders((("authorization", "bearer " + "x" * 500), ("content-type", "application/json")))
    blocks = RequestBlocks("push.example")
    first, second = (blocks.encode("/p", shared, (), 9) for _ in range(2))
    assert len(first) > 500
    assert len(second) < 20


@pytest.mark.parametrize("bad", ["a\r\nb: c", "a\nb", "a\0b", "é", "\x7f"])
def test_nothing_can_be_put_into_a_header_that_ends_it(bad: str) -> None:
    blocks, shared = RequestBlocks("push.example"), SharedHeaders((("a", "b"),))
    for path, own in (("/" + bad, ()), ("/p", (("x", bad),))):
        with pytest.raises(UnsendableHeader):
            blocks.encode(path, shared, own, 1)
    read = hpack.Decoder().decode(blocks.encode("/p", shared, (), 1))  # nothing of what failed is in the table
    assert ("a", "b") in [(str(name), str(value)) for name, value in read]
