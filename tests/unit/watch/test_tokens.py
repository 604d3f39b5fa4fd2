"""Resume tokens lead back to their place, and anything else is refused."""

from __future__ import annotations

import base64
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.errors import Invalid
from server.domain.feed import Filter, Position
from server.domain.operations import Status
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from server.watch import tokens

_seqs = st.integers(min_value=0, max_value=(1 << 63) - 1)
_filters = st.builds(
    Filter,
    account=st.uuids(),
    operation=st.none() | st.uuids(),
    places=st.frozensets(st.tuples(st.uuids(), st.integers(0, 9_999)), max_size=3),
    user=st.none() | st.uuids(),
    app_name=st.none() | st.text(max_size=9),
    statuses=st.frozensets(st.sampled_from(Status)),
    providers=st.frozensets(st.sampled_from(Provider)),
    reasons=st.frozensets(st.sampled_from(Reason)),
)


@given(st.uuids(), _seqs, _filters)
def test_a_token_leads_back_and_fits_the_contract(epoch: UUID, seq: int, watched: Filter) -> None:
    token = tokens.encode(Position(epoch, seq), watched)
    assert tokens.decode(token, watched, Position(epoch, (1 << 63) - 1)) == Position(epoch, seq)
    assert len(token) <= 1024
    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum()  # it travels in headers and query strings


@given(_filters, _filters)
def test_a_token_is_good_for_its_own_filter_only(mine: Filter, other: Filter) -> None:
    position = Position(UUID(int=1), 5)
    token = tokens.encode(position, mine)
    if mine == other:
        assert tokens.decode(token, other, position) == position
    else:
        with pytest.raises(Invalid):
            tokens.decode(token, other, position)


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_garbage_is_refused_and_never_an_error_of_ours(garbage: str) -> None:
    with pytest.raises(Invalid):
        tokens.decode(garbage, Filter(UUID(int=1)), Position(UUID(int=1), 5))


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_changed_byte_is_noticed(place: int, change: int) -> None:
    watched, position = Filter(UUID(int=1)), Position(UUID(int=2), 3)
    raw = bytearray(base64.urlsafe_b64decode(tokens.encode(position, watched) + "==="))
    raw[place % len(raw)] ^= change
    with pytest.raises(Invalid):
        tokens.decode(base64.urlsafe_b64encode(raw).decode().rstrip("="), watched, position)


def test_a_place_behind_the_feeds_end_or_of_another_feed_is_refused() -> None:
    watched, epoch = Filter(uuid4()), uuid4()
    token = tokens.encode(Position(epoch, 6), watched)
    for now in (Position(epoch, 5), Position(uuid4(), 6)):
        with pytest.raises(Invalid):
            tokens.decode(token, watched, now)
